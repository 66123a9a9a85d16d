"""The storage tab: disk usage, promoted checkpoints, and the trash."""

from __future__ import annotations

import shutil
from typing import Final

import streamlit as st

from sim2street.app.admin.admission import for_admins
from sim2street.app.content import escape
from sim2street.app.views import session
from sim2street.models.storage.cache import cache_entries, cache_folder, remove_entries
from sim2street.models.storage.files import in_units, promoted_folder, runs_folder, size_of
from sim2street.training.jobs.access import audit
from sim2street.training.jobs.store import TRASH, JobStore, promoted_names

UNUSED_DAYS: Final = 7
"""Days after which unused stored data sets are offered for removal."""


def show_storage(store: JobStore) -> None:
    """Draw the overview, stored data sets, promoted checkpoints and the trash."""
    jobs, trash = store.jobs(), store.trash()
    sizes = {job.id: size_of(store.place(job.id)) for job in jobs}
    in_trash = size_of(store.folder / TRASH)
    cached = cache_entries()
    disk = shutil.disk_usage(runs_folder() if runs_folder().exists() else runs_folder().anchor)
    with st.container(horizontal=True, gap="medium"):
        for label, value in (
            ("Jobs", sum(sizes.values())),
            ("In the catalog", size_of(promoted_folder())),
            ("Trash", in_trash),
            ("Stored data sets", sum(entry.size for entry in cached)),
            ("Free on this disk", disk.free),
        ):
            st.metric(label, in_units(value), border=True)
    if disk.free < 2 * 2**30:
        st.warning("Less than 2 GB is free, so a training could fail at its next save.", icon=":material/disc_full:")
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("### Jobs by size")
        rows = [{"Job": job.id, "State": job.state.value, "MB": sizes[job.id] / 1e6} for job in jobs]
        rows.sort(key=lambda row: -row["MB"])
        if rows:
            st.dataframe(rows, hide_index=True, column_config={"MB": st.column_config.NumberColumn(format="%.1f")})
        else:
            st.caption("There are no jobs.")
        st.caption(f"Stored in {escape.code(str(runs_folder()))}.")
        st.markdown("### Stored data sets")
        unused = sum(entry.size for entry in cached if entry.days_unused() >= UNUSED_DAYS)
        st.caption(
            f"Copies in {escape.code(str(cache_folder()))} that trainings read; a removed copy is made again when needed."
            + ("" if unused else f" All were used within the last {UNUSED_DAYS} days.")
        )
        if unused:
            words = f"Remove copies unused for {UNUSED_DAYS} days ({in_units(unused)})"
            st.button(words, icon=":material/delete_sweep:", on_click=_remove_unused, key="remove_unused")
    with right:
        st.markdown("### Promoted checkpoints")
        for name in promoted_names():
            _row(name, "Remove", ":material/remove_circle:", _withdraw)
        if not promoted_names():
            st.caption("No checkpoint has been promoted yet.")
        st.markdown("### Trash")
        for job in trash:
            _row(job.id, "Restore", ":material/undo:", _restore)
        if trash:
            with st.popover(f"Empty the trash ({in_units(in_trash)})", icon=":material/delete_forever:"):
                st.markdown("This permanently deletes the states and checkpoints in it.")
                st.button("Empty the trash", type="primary", on_click=_empty, key="empty_trash")
        else:
            st.caption("The trash is empty.")


def _row(name: str, words: str, icon: str, action: object) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(escape.code(name), width="stretch")
        st.button(words, icon=icon, type="tertiary", key=f"{words}/{name}", on_click=action, args=(name,))  # pyright: ignore


@for_admins
def _withdraw(who: str, name: str) -> str:
    JobStore().withdraw(name)
    session.checkpoints.clear()
    audit(who, "withdrew", name=name)
    return f"{name} is no longer in the catalog."


@for_admins
def _restore(who: str, job: str) -> str:
    JobStore().restore(job)
    audit(who, "restored", job=job)
    return f"{job} was restored."


@for_admins
def _remove_unused(who: str) -> str:
    removed, stayed = remove_entries(entry for entry in cache_entries() if entry.days_unused() >= UNUSED_DAYS)
    freed = sum(entry.size for entry in removed)
    audit(who, "removed stored data sets", bytes=freed)
    return " ".join([f"{in_units(freed)} are free again.", *stayed])


@for_admins
def _empty(who: str) -> str:
    freed = JobStore().empty_trash()
    audit(who, "emptied the trash", bytes=freed)
    return f"{in_units(freed)} are free again."
