"""The jobs tab: the list on the left, the selected job next to it; and the comparison of runs."""

from __future__ import annotations

import datetime
from typing import Any, Final

import streamlit as st

from sim2street.app.admin.admission import require_admin
from sim2street.app.admin.job_detail import STATES, show_job
from sim2street.app.admin.launch_form import CHOSEN
from sim2street.app.content import charts, curves, escape
from sim2street.app.content.names import data_set_title
from sim2street.models.errors import Sim2StreetError
from sim2street.training.jobs import local
from sim2street.training.jobs.access import AccessError
from sim2street.training.jobs.progress import Progress, read_progress
from sim2street.training.jobs.record import Job
from sim2street.training.jobs.store import JobStore

SHOWN: Final = 25
COMPARED: Final = 6
LIST_STYLE: Final = """<style>
[class*="st-key-choose-"] button { justify-content: flex-start; text-align: left; padding: 0.35rem 0.75rem; }
[class*="st-key-choose-"] button > div { justify-content: flex-start; width: 100%; }
</style>"""
"""Streamlit centres button labels; a list is left-aligned."""
REDRAW: Final = "admin_redraw"
"""Set by a click in the list, because the detail is outside the list's fragment."""


def show_jobs(store: JobStore) -> None:
    """Draw the list of jobs and the selected job."""
    local.attend(store)
    st.html(LIST_STYLE)
    jobs = store.jobs()
    if not jobs:
        st.info("There are no jobs yet. Start one under Train.", icon=":material/model_training:")
        return
    names = [job.id for job in jobs]
    if st.session_state.get(CHOSEN) not in names:
        st.session_state[CHOSEN] = names[0]
    left, right = st.columns([2, 5], gap="large")
    with left:
        _list(store)
    with right:
        show_job(store, st.session_state[CHOSEN])


@st.fragment(run_every=3)
def _list(store: JobStore) -> None:
    try:
        require_admin(touch=False)
    except AccessError:
        st.rerun()
    if st.session_state.pop(REDRAW, False):
        st.rerun()
    jobs = store.jobs()
    running = sum(not job.state.ended for job in jobs)
    st.caption(f"{len(jobs)} job{'s' if len(jobs) != 1 else ''}, {running or 'none'} active")
    for job in jobs[:SHOWN]:
        chosen = job.id == st.session_state.get(CHOSEN)
        icon, _ = STATES[job.state]
        number = job.id.partition("-")[0].lstrip("0")
        share = "" if job.state.ended else f" · {_progress(store, job).share:.0%}"
        when = datetime.datetime.fromtimestamp(job.submitted_at).strftime("%d %b %H:%M")
        st.button(
            f"**{number} · {escape.markdown(job.title)}**  \n:small[{job.state.value}{share} · {when}]",
            key=f"choose-{job.id}",
            icon=icon,
            type="secondary" if chosen else "tertiary",
            width="stretch",
            on_click=_choose,
            args=(job.id,),
        )
    if len(jobs) > SHOWN:
        st.caption(f"{len(jobs) - SHOWN} older jobs are listed by `sim2street jobs list`.")


def _choose(job: str) -> None:
    st.session_state[CHOSEN] = job
    st.session_state[REDRAW] = True


def show_comparison(store: JobStore) -> None:
    """Draw curves and latest metrics of several runs."""
    jobs = {job.id: job for job in store.jobs() if _progress(store, job).step > 0}
    if len(jobs) < 2:
        st.info("Comparing needs at least two jobs that have started.", icon=":material/stacked_line_chart:")
        return
    chosen = st.multiselect(
        "Runs",
        list(jobs),
        default=list(jobs)[:2],
        max_selections=COMPARED,
        format_func=lambda name: run_name(jobs[name]),
        key="compared",
    )
    runs = {run_name(jobs[name]): _progress(store, jobs[name]) for name in chosen}
    labels = sorted({label for progress in runs.values() for label in progress.figures})
    terms = sorted({term for progress in runs.values() for term in progress.losses})
    left, right = st.columns(2, gap="large")
    with left:
        for label in labels:
            st.markdown(f"**mIoU on {escape.markdown(data_set_title(label))}**")
            lines = {
                name: (progress.figures[label][0], [report.get("miou") for report in progress.figures[label][1]])
                for name, progress in runs.items()
                if label in progress.figures
            }
            st.plotly_chart(curves.iou_curves(lines), config=charts.CONFIG, key=f"compare/{label}")
        if not labels:
            st.caption("None of these runs has been evaluated yet.")
    with right:
        term = st.selectbox("Loss", terms, key="compared_term") if terms else None
        if term is not None:
            lines = {name: progress.losses[term] for name, progress in runs.items() if term in progress.losses}
            st.plotly_chart(curves.loss_overlay(lines, term), config=charts.CONFIG, key="compare_losses")
    st.dataframe(
        [_row(name, progress, labels) for name, progress in runs.items()],
        hide_index=True,
        placeholder="–",
        column_config={
            label: st.column_config.NumberColumn(f"{data_set_title(label)}, %", format="%.1f") for label in labels
        },
    )
    st.caption(
        "mIoU at each run's latest evaluation; runs with different numbers of steps are not directly comparable."
    )


def run_name(job: Job) -> str:
    """A short, unique name."""
    return f"{job.id.partition('-')[0].lstrip('0')} · {job.title}"


def _row(name: str, progress: Progress, labels: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"Run": name, "Step": progress.step}
    for label in labels:
        miou = progress.figures[label][1][-1].get("miou") if label in progress.figures else None
        row[label] = None if miou is None else 100 * miou
    return row


def _progress(store: JobStore, job: Job) -> Progress:
    try:
        return read_progress(store.config(job.id), store.run(job.id))
    except Sim2StreetError:
        return Progress(0, job.steps)
