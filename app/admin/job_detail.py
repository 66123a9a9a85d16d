"""One job, running or finished: progress, metrics, output, and actions."""

from __future__ import annotations

from typing import Final

import streamlit as st

from sim2street.app.admin.admission import for_admins, pass_on_notice, require_admin
from sim2street.app.admin.launch_form import CHOSEN
from sim2street.app.content import charts, curves, escape
from sim2street.app.content.names import data_set_title
from sim2street.app.views import session
from sim2street.models.errors import Sim2StreetError, UnreadableError
from sim2street.models.storage.files import METRICS, RUN_FOLDER, read_json
from sim2street.training.config import RunConfig
from sim2street.training.datasets import DATASETS
from sim2street.training.datasets.street_scenes import STYLES
from sim2street.training.durations import in_words
from sim2street.training.jobs import local, log
from sim2street.training.jobs.access import BY_PASSWORD, audit
from sim2street.training.jobs.estimate import surprise
from sim2street.training.jobs.evaluation import ask_to_evaluate
from sim2street.training.jobs.launch import method_title
from sim2street.training.jobs.places import in_words as place_in_words
from sim2street.training.jobs.places import place_of
from sim2street.training.jobs.progress import Progress, read_progress, sample_pictures
from sim2street.training.jobs.publication import ask_to_publish
from sim2street.training.jobs.record import Job, JobState
from sim2street.training.jobs.store import LOG, JobStore

STATES: Final = {
    JobState.QUEUED: (":material/hourglass_empty:", "gray"),
    JobState.RUNNING: (":material/play_circle:", "primary"),
    JobState.SUCCEEDED: (":material/check_circle:", "green"),
    JobState.FAILED: (":material/error:", "red"),
    JobState.CANCELLED: (":material/stop_circle:", "gray"),
    JobState.LOST: (":material/help:", "orange"),
}


def show_job(store: JobStore, name: str) -> None:
    """Draw one job, refreshed every two seconds while it is active."""
    job = store.get(name)
    try:
        config = store.config(name)
    except Sim2StreetError as error:  # damaged, or of a version whose recipes had other keys
        _headline(job, job.recipe or "recipe unreadable")
        st.error(escape.markdown(str(error)), icon=":material/error:")
        if job.state.ended:
            _delete_button(job)
        return
    live = not job.state.ended or local.needs_runner(job)
    st.fragment(_show, run_every=2 if live else None)(store, name, config, job.state)


def _show(store: JobStore, name: str, config: RunConfig, drawn_as: JobState) -> None:
    pass_on_notice()
    try:
        require_admin(touch=False)
        local.attend(store)
        job = store.get(name)
    except Sim2StreetError:  # signed out or idle for too long, or the job is gone
        st.rerun()
    if job.where != "local" and not job.state.ended:
        job = _asked(name)
    if job.state is not drawn_as:
        st.rerun()  # other buttons, another rhythm
    progress = read_progress(config, store.run(name))
    _headline(job, method_title(config))
    _actions(store, job)
    _numbers(store, job, progress)
    losses, quality, samples, printed, recipe = st.tabs(["Losses", "Quality", "Samples", "Log", "Recipe"])
    with losses:
        if progress.losses:
            st.plotly_chart(curves.loss_curves(progress.losses), config=charts.CONFIG, key="losses")
        else:
            st.caption("Nothing has been logged yet.")
    with quality:
        _quality(progress)
        _scores(store, job)
    with samples:
        _samples(store, job, config)
    with printed:
        lines = log.tail(store.place(name) / LOG, 80)
        st.code("\n".join(lines) or "No output yet.", language=None, height=380, wrap_lines=True)
    with recipe:
        st.json(config.model_dump(mode="json", exclude_defaults=True), expanded=1)


@st.cache_data(ttl=20, max_entries=32, show_spinner=False)
def _asked(name: str) -> Job:
    """What the place of a job elsewhere says of it."""
    return place_of(JobStore(), name).refresh(name)


def _headline(job: Job, method: str) -> None:
    icon, colour = STATES[job.state]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(escape.markdown(job.title), anchor=False, width="content")
        st.badge(job.state.value, icon=icon, color=colour)  # pyright: ignore[reportArgumentType]  # one of its colours
    # Who signs in with the password has no name.
    by = "launched in the browser" if job.by == BY_PASSWORD else f"by {job.by}" if job.by else "launched in a terminal"
    said = f"{job.id} · {method} · on {place_in_words(job)} · attempt {max(1, job.attempt)} · {by}"
    st.caption(escape.markdown(said))
    if job.reason:
        show = st.info if job.state in (JobState.RUNNING, JobState.QUEUED, JobState.CANCELLED) else st.warning
        show(escape.markdown(job.reason), icon=":material/chat_info:")
    for wish in (job.publication, job.evaluation):
        if wish is not None and wish.error:
            again = " The next attempt comes by itself." if wish.state == "waiting" else ""
            st.warning(escape.markdown(wish.error + again), icon=":material/cloud_off:")
    if job.publication is not None and job.publication.state == "published":
        name, address = escape.markdown(job.publication.repo_id), escape.address(job.publication.url or "")
        st.markdown(f":material/cloud_done: On the Hub: [{name}]({address})")


def _actions(store: JobStore, job: Job) -> None:
    with st.container(horizontal=True):
        if not job.state.ended:
            st.button(
                "Stopping" if job.cancel_asked else "Cancel",
                icon=":material/stop:",
                help="Saves the state, then stops.",
                disabled=job.cancel_asked,
                on_click=_cancel,
                args=(job.id,),
                key="cancel",
            )
            return
        if job.state is not JobState.SUCCEEDED:
            st.button(
                "Resume", icon=":material/play_arrow:", type="primary", on_click=_retry, args=(job.id,), key="resume"
            )
        else:
            _promote_form(job)
            _evaluate_form(job)
            _publish_form(job)
        _delete_button(job)


def _delete_button(job: Job) -> None:
    st.button("Delete", icon=":material/delete:", on_click=_delete, args=(job.id,), key="delete", type="tertiary")


def _promote_form(job: Job) -> None:
    with st.popover(
        "Promote", icon=":material/star:", type="primary", help="Adds the checkpoint to the catalog that Compare shows."
    ):
        st.text_input("Name in the catalog", job.id.replace("-", "_"), key=f"promote/{job.id}", max_chars=80)
        st.button("Add to the catalog", on_click=_promote, args=(job.id,), key="promote", type="primary")


def _evaluate_form(job: Job) -> None:
    waiting = job.evaluation is not None and job.evaluation.state == "waiting"
    with st.popover("Evaluating" if waiting else "Evaluate", icon=":material/straighten:", disabled=waiting):
        labelled = [name for name, kind in DATASETS.items() if kind.labelled_splits]
        chosen = st.selectbox("Data set", labelled, key=f"set/{job.id}", format_func=lambda name: DATASETS[name].title)
        if DATASETS[chosen].generated:
            st.selectbox("Look", STYLES, key=f"style/{job.id}")
            st.number_input("Scenes", 1, 1000, 100, key=f"count/{job.id}", help="Streets that no recipe trains on.")
        else:
            st.text_input("Split", "val", key=f"split/{job.id}", max_chars=40)
        st.button("Evaluate", on_click=_evaluate, args=(job.id,), key="evaluate", type="primary")


def _publish_form(job: Job) -> None:
    waiting = job.publication is not None and job.publication.is_untried
    with st.popover("Publishing" if waiting else "Publish", icon=":material/cloud_upload:", disabled=waiting):
        st.text_input("Repository", placeholder="owner/name", key=f"repository/{job.id}", max_chars=96)
        st.toggle("Private", value=True, key=f"private/{job.id}")
        st.button("Publish to the Hub", on_click=_publish, args=(job.id,), key="publish", type="primary")


def _numbers(store: JobStore, job: Job, progress: Progress) -> None:
    pulse = store.pulse(job.id)
    running = job.state is JobState.RUNNING
    if running:
        st.progress(progress.share, text=None)
        activity = store.activity(job.id)
        if activity is not None:
            title = activity.title[:1].upper() + activity.title[1:]
            st.progress(activity.share, f"{escape.markdown(title)}, {activity.done} of {activity.total}")
    seconds = pulse.get("seconds", job.seconds) if running else job.seconds
    left = in_words(progress.seconds_left) if running and progress.seconds_left is not None else None
    pace = progress.seconds_per_step
    memory = progress.gpu_memory_mb or pulse.get("peak_memory_mb")
    numbers = {
        "Step": f"{progress.step:,} of {progress.steps:,}".replace(",", "\u2009"),
        "Left": left,
        "Spent": in_words(seconds) if seconds else None,
        "Per step": None if pace is None else f"{pace:.2f} s" if pace >= 0.1 else f"{1000 * pace:.0f} ms",
        "GPU memory" if progress.gpu_memory_mb else "Memory": None if not memory else f"{memory / 1024:.1f} GB",
    }
    with st.container(horizontal=True, gap="medium"):
        for label, value in numbers.items():
            if value is not None:
                st.markdown(f":small[:gray[{label}]]  \n**{value}**", width="content")
    if said := surprise(job, progress):
        st.caption(f":material/timer: {said}")
    silent = pulse.get("silent_seconds", 0.0)
    if running and silent > 60:
        st.caption(
            f":material/hearing_disabled: No sign of progress for {in_words(silent)}; the job is ended after"
            f" {in_words(job.patience_seconds)}."
        )


def _quality(progress: Progress) -> None:
    if not progress.figures:
        st.caption("Not evaluated yet.")
        return
    lines = {
        data_set_title(label): (steps, [report.get("miou") for report in reports])
        for label, (steps, reports) in progress.figures.items()
    }
    st.plotly_chart(curves.iou_curves(lines), config=charts.CONFIG, key="miou")
    for label, (steps, reports) in progress.figures.items():
        st.markdown(f"**IoU per class on {escape.markdown(data_set_title(label))}, %**")
        st.plotly_chart(curves.class_map(steps, reports), config=charts.CONFIG, key=f"classes/{label}")


def _scores(store: JobStore, job: Job) -> None:
    """Scores of the finished checkpoint, from the end of training and from later evaluations."""
    try:
        metrics = read_json(store.run(job.id) / RUN_FOLDER / METRICS)
        rows = [
            {"Set": data_set_title(name), "mIoU, %": None if report["miou"] is None else 100 * report["miou"]}
            for name, report in metrics.items()
        ]
    except (UnreadableError, KeyError, TypeError, AttributeError):  # none yet, or being replaced
        return
    if rows:
        st.markdown("**Finished checkpoint**")
        columns = {"mIoU, %": st.column_config.NumberColumn(format="%.1f")}
        st.dataframe(rows, hide_index=True, placeholder="–", column_config=columns)


def _samples(store: JobStore, job: Job, config: RunConfig) -> None:
    pictures = sample_pictures(config, store.run(job.id))
    if not pictures:
        st.caption("Samples appear after the first evaluation.")
        return
    steps = sorted({step for series in pictures.values() for step, _ in series})
    step = steps[0]
    if len(steps) > 1:
        step = st.select_slider("Step", steps, value=steps[-1], key=f"samples/{job.id}/{len(steps)}")
    st.caption("Photo, prediction and ground truth")
    for series in pictures.values():
        path = dict(series).get(step)
        if path is not None:
            st.image(str(path), width="stretch", alt=f"Photo, prediction and ground truth at step {step}")


@for_admins
def _cancel(who: str, job: str) -> str:
    store = JobStore()
    place_of(store, job).cancel(job)
    audit(who, "cancelled", job=job)
    return "The job saves its state and stops."


@for_admins
def _retry(who: str, job: str) -> str:
    store = JobStore()
    place_of(store, job).retry(job)
    audit(who, "resumed", job=job)
    return "The job resumes from its last state."


@for_admins
def _promote(who: str, job: str) -> str:
    name = str(st.session_state.get(f"promote/{job}", "")).strip()
    checkpoint = JobStore().promote(job, name)
    session.checkpoints.clear()  # so that Compare and Checkpoints show it when they are next drawn
    audit(who, "promoted", job=job, name=name, sha256=checkpoint.config.weights_sha256)
    return f"{checkpoint.config.title} is now available on Compare."


@for_admins
def _evaluate(who: str, job: str) -> str:
    state = st.session_state
    chosen = state.get(f"set/{job}", "")
    wish = {"dataset": chosen, "split": str(state.get(f"split/{job}", "")).strip() or None}
    if chosen in DATASETS and DATASETS[chosen].generated:
        wish = {"dataset": chosen, "style": state.get(f"style/{job}", ""), "count": state.get(f"count/{job}", 100)}
    ask_to_evaluate(JobStore(), job, **wish)
    audit(who, "asked for an evaluation", job=job, dataset=chosen)
    return "The evaluation starts as soon as no training needs the machine."


@for_admins
def _publish(who: str, job: str) -> str:
    repository = str(st.session_state.get(f"repository/{job}", "")).strip()
    ask_to_publish(JobStore(), job, repository, private=bool(st.session_state.get(f"private/{job}", True)))
    audit(who, "asked for publication", job=job, repository=repository)
    return f"The checkpoint will be published to {repository}."


@for_admins
def _delete(who: str, job: str) -> str:
    JobStore().delete(job)
    audit(who, "deleted", job=job)
    st.session_state.pop(CHOSEN, None)
    return "The job was moved to the trash, under Storage."
