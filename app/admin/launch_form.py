"""The train tab: recipe, values, data, hardware, estimate, launch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import streamlit as st
from huggingface_hub import get_token

from sim2street.app.admin.admission import for_admins
from sim2street.app.content import escape
from sim2street.app.content.names import data_set_title, source_title
from sim2street.models.errors import Sim2StreetError
from sim2street.models.networks import NETWORKS
from sim2street.training.config import RunConfig, recipe_names
from sim2street.training.durations import in_words
from sim2street.training.jobs.access import audit
from sim2street.training.jobs.estimate import Estimate, cost_in_words, estimate
from sim2street.training.jobs.fields import GROUPS, FormField
from sim2street.training.jobs.hub import Flavour, HubRunner, image
from sim2street.training.jobs.launch import (
    DataFinding,
    check_data,
    differences,
    fields_of,
    method_title,
    prepare,
    shipped_recipe,
)
from sim2street.training.jobs.places import PLACES
from sim2street.training.jobs.processes import graphics_cards
from sim2street.training.jobs.record import SBATCH_OPTIONS, Cluster, JobError, sbatch_options
from sim2street.training.jobs.slurm import check_cluster
from sim2street.training.jobs.store import JobStore

ROOM: Final = "admin_room"
CHOSEN: Final = "admin_job"
RECIPE: Final = "admin_recipe"
HERE: Final = "This machine"
HUB: Final = "Hugging Face Jobs"
SLURM: Final = "SLURM cluster"
FIRST_RECIPE: Final = "try_one_minute"
FIELD: Final = "field/"
FIRST: Final = ("title", "steps", "batch", "seed", "precision", "initialisation")
"""Values that are always visible; the other values of the run are collapsed."""
PLAN: Final = (
    "where",
    "processes",
    *("flavour", "hub_repository", "hub_namespace", "hub_timeout"),
    *("slurm_partition", "slurm_gpus", "slurm_timeout", "slurm_options"),
)
"""Keys of what says where the run takes place."""
KEPT: Final = "admin_form"
"""What was entered: Streamlit forgets the values of what it does not draw, in another room or on another page."""
CHECKED: Final = 30
"""Seconds for which a check of the data sets is cached."""


def show_launch_form(store: JobStore) -> None:
    """Draw the tab; only the launch button's handler starts anything."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        names = recipe_names()
        recipe = st.selectbox(
            "Recipe",
            names,
            index=_place(RECIPE, names, FIRST_RECIPE),
            key=RECIPE,
            help="A recipe sets all values of a training.",
        )
        config = shipped_recipe(recipe)
        _introduce(config)
        fields = fields_of(config)
        _show_fields(recipe, config, fields)
    with right, st.container(border=True):
        _show_plan(store, recipe, fields)


def keep_form() -> None:
    """Remember what is entered; called in every run, because nothing is called when somebody goes to another page."""
    state = st.session_state
    entered = {str(key): state[key] for key in state if key in (RECIPE, *PLAN) or str(key).startswith(FIELD)}
    state[KEPT] = {**state.get(KEPT, {}), **entered}


def _kept(key: str, otherwise: Any) -> Any:
    """What was entered last. As a widget's default it may change from run to run, as the key alone says which widget it is."""
    return st.session_state.get(KEPT, {}).get(key, otherwise)


def _filled(key: str, otherwise: Any) -> dict[str, Any]:
    """Key and default of a widget that shows what was entered last."""
    return {"key": key, "value": _kept(key, otherwise)}


def _place(key: str, choices: Sequence[Any], otherwise: Any) -> int:
    """Place of what was chosen last among the choices."""
    kept = _kept(key, otherwise)
    return choices.index(kept if kept in choices else otherwise)


def _introduce(config: RunConfig) -> None:
    sources = source_title(" + ".join(item.label for item in config.sources))
    arrow = f"{sources} → {source_title(config.target.label)}" if config.target else sources
    said = f"{NETWORKS[config.network].title} · {arrow} · {config.total_steps} steps"
    st.markdown(f"**{escape.markdown(method_title(config))}** · {escape.markdown(said)}")
    if config.about:
        st.caption(escape.markdown(config.about))


def _show_fields(recipe: str, config: RunConfig, fields: list[FormField]) -> None:
    own = {field.key: field for field in fields if field.group == "run"}
    _grid([own.pop(key) for key in FIRST if key in own], recipe)
    for group, title in GROUPS.items():
        members = list(own.values()) if group == "run" else [field for field in fields if field.group == group]
        if not members:
            continue
        changed = sum(_entered(recipe, field) != field.value for field in members)
        name = {"run": "More of the run", "method_options": f"Method: {escape.markdown(method_title(config))}"}.get(
            group, title
        )
        with st.expander(f"{name} :primary[· {changed} changed]" if changed else name, key=f"{recipe}/{group}"):
            parts = dict.fromkeys(field.key.rpartition(".")[0] for field in members)
            for part in parts:
                if len(parts) > 1:
                    st.markdown(f"**{escape.markdown(_part_title(config, part))}**")
                _grid([field for field in members if field.key.rpartition(".")[0] == part], recipe)


def _part_title(config: RunConfig, part: str) -> str:
    """Title of a part of a group: a network's or a data set's name."""
    group, _, name = part.partition(".")
    return data_set_title(getattr(config, group)[int(name)].label) if name.isdecimal() else name.replace("_", " ")


def _grid(fields: list[FormField], recipe: str) -> None:
    for start in range(0, len(fields), 3):
        for column, field in zip(st.columns(3), fields[start : start + 3], strict=False):
            with column, st.container(gap="xxsmall"):
                _widget(recipe, field)
                _show_former(field, _entered(recipe, field))


def _widget(recipe: str, field: FormField) -> None:
    """Draw one value with its name and its help."""
    key = _key(recipe, field)
    value = _kept(key, field.value)
    label = escape.markdown(field.label.replace("_", " ").capitalize())
    help_ = field.help or None
    if field.kind == "switch":
        st.toggle(label, value=value, key=key, help=help_)
    elif field.kind == "choice":
        shown = {choice: field.show(choice) or "none" for choice in field.choices}
        st.selectbox(
            label,
            field.choices,
            index=_place(key, field.choices, field.value),
            key=key,
            help=help_,
            format_func=lambda choice: shown[choice],
        )
    elif field.kind == "whole" and not field.optional:
        low = None if field.minimum is None else int(field.minimum)
        high = None if field.maximum is None else int(field.maximum)
        st.number_input(label, low, high, value, step=1, key=key, help=help_)
    else:
        most = 80 if field.kind == "text" else 200
        placeholder = "none" if field.optional else None
        text = _kept(key, field.show(field.value))
        st.text_input(label, text, key=key, help=help_, placeholder=placeholder, max_chars=most)


def _show_former(field: FormField, entered: Any) -> None:
    """Say below a value what the recipe or the paper has instead; in the label, screen readers would read out the markup."""
    if entered != field.value:
        st.markdown(f":small[:primary[was {escape.markdown(field.show(field.value)) or 'none'}]]")
    elif field.paper is not None and field.show(entered) != field.show(field.paper):
        st.caption(f"paper: {escape.markdown(field.show(field.paper))}")


def _key(recipe: str, field: FormField) -> str:
    return f"{FIELD}{recipe}/{field.key}"


def _entered(recipe: str, field: FormField) -> Any:
    """The value in the form; an invalid one is returned as it is, so that `prepare` reports it."""
    key = _key(recipe, field)
    raw = st.session_state.get(key, _kept(key, field.value))
    try:
        return field.read(raw)
    except Sim2StreetError:
        return raw


def _entered_values(recipe: str, fields: list[FormField]) -> dict[str, Any]:
    entered = {field.key: _entered(recipe, field) for field in fields}
    return {field.key: entered[field.key] for field in fields if entered[field.key] != field.value}


def _show_plan(store: JobStore, recipe: str, fields: list[FormField]) -> None:
    """Draw what would run, on which hardware and for how long, and the launch button."""
    entered = _entered_values(recipe, fields)
    try:
        config = prepare(recipe, entered)
    except Sim2StreetError as error:
        st.error(escape.markdown(str(error)), icon=":material/error:")
        st.button("Launch", type="primary", width="stretch", disabled=True)
        return
    st.markdown("### This run")
    _show_differences(recipe, entered)
    findings = _data(config.model_dump_json())
    st.markdown("**Data**")
    said = set[str]()
    for finding in findings:
        _show_finding(finding, in_full=finding.words not in said)
        said.add(finding.words)
    st.markdown("**Where**")
    where = st.segmented_control(
        "Where",
        [HERE, HUB, SLURM],
        default=_kept("where", HERE),
        required=True,
        key="where",
        label_visibility="collapsed",
    )
    choose = {HERE: _choose_processes, HUB: _choose_hub, SLURM: _choose_cluster}[where]
    ready, expected = choose(store, config)
    _show_estimate(expected)
    missing = where != HUB and any(not finding.there for finding in findings)
    if missing:
        st.caption(":material/block: Some data is missing, so the run cannot start.")
    st.button(
        "Launch",
        type="primary",
        icon=":material/rocket_launch:",
        width="stretch",
        disabled=not ready or missing,
        on_click=_launch,
        key="launch",
    )


def _show_differences(recipe: str, entered: dict[str, Any]) -> None:
    found = differences(recipe, entered)
    mine = [item for item in found if item.value != item.recipe]
    papers = [item for item in found if item.paper]
    if not mine:
        st.caption("No changes to the recipe.")
    for item in mine:
        st.markdown(
            f"{escape.code(item.key)} :primary[**{escape.markdown(item.value)}**] :gray[instead of {escape.markdown(item.recipe)}]"
        )
    if papers:
        with st.popover(f"{len(papers)} options differ from the papers", type="tertiary", icon=":material/menu_book:"):
            for item in papers:
                st.markdown(
                    f"{escape.code(item.key)} **{escape.markdown(item.value)}** :gray[paper: {escape.markdown(item.paper)}]"
                )


def _show_finding(finding: DataFinding, *, in_full: bool) -> None:
    sign = ":green[:material/check_circle:]" if finding.there else ":red[:material/cancel:]"
    words = escape.markdown(finding.words)
    said = escape.markdown(f"{finding.role}: {data_set_title(finding.label)}")
    st.markdown(f"{sign} {said}", help=words if finding.there else None)
    if not finding.there and in_full:
        st.caption(words)


def _choose_processes(store: JobStore, config: RunConfig) -> tuple[bool, Estimate | None]:
    cards = _cards()
    if cards > 1:
        st.number_input("GPUs", 1, cards, **_filled("processes", 1))
    else:
        cores = os.cpu_count() or 1
        st.caption(f"Runs on the {'GPU' if cards else f'CPU, {cores} cores'}. Jobs run one after another.")
    return True, estimate(config, store, processes=int(st.session_state.get("processes", 1)))


def _choose_hub(store: JobStore, config: RunConfig) -> tuple[bool, Estimate | None]:
    try:
        image()
        if get_token() is None:
            raise JobError("This server is not signed in to the Hub. Run hf auth login, or set HF_TOKEN.")
        flavours = _flavours()
    except Sim2StreetError as error:
        st.caption(f":material/info: {escape.markdown(str(error))}")
        return False, None
    by_name = {flavour.name: flavour for flavour in flavours}
    name = st.selectbox(
        "Hardware",
        list(by_name),
        _place("flavour", list(by_name), flavours[0].name) if flavours else 0,
        format_func=lambda key: _flavour_line(by_name[key]),
        key="flavour",
    )
    repository = _filled("hub_repository", "")
    st.text_input("Repository for the checkpoint", **repository, placeholder="owner/name", max_chars=96)
    left, right = st.columns(2)
    left.text_input("Paid by", **_filled("hub_namespace", ""), placeholder="owner of the token", max_chars=96)
    right.number_input("Time limit in minutes", 5, 7 * 24 * 60, **_filled("hub_timeout", 240), step=30)
    expected = estimate(config, store, flavour=by_name[name])
    if expected is not None and expected.seconds[1] > 60 * st.session_state["hub_timeout"]:
        st.markdown(
            ":small[:material/timer_off: :orange[The job may not finish in time; an interrupted job is still charged.]]"
        )
    return bool(st.session_state.get("hub_repository")), expected


def _choose_cluster(store: JobStore, config: RunConfig) -> tuple[bool, Estimate | None]:
    try:
        check_cluster()
    except JobError as error:
        st.caption(f":material/info: {escape.markdown(str(error))}")
        return False, None
    left, middle, right = st.columns(3)
    left.text_input("Partition", **_filled("slurm_partition", ""), placeholder="the default", max_chars=200)
    middle.number_input("GPUs", 0, 16, **_filled("slurm_gpus", 1), help="On one node. 0 trains on its CPUs.")
    limit = "The state is saved shortly before it, and the job is queued again until it is done."
    right.number_input("Time limit in minutes", 5, 7 * 24 * 60, **_filled("slurm_timeout", 240), step=30, help=limit)
    known = "One of " + ", ".join(SBATCH_OPTIONS) + "."
    options = _filled("slurm_options", "")
    st.text_input("Further options", **options, placeholder="account=vision mem=64G", max_chars=400, help=known)
    st.caption("The nodes must see this server's folders: code, runs and data.")
    try:
        return True, estimate(config, store, cluster=_cluster())
    except Sim2StreetError as error:
        st.error(escape.markdown(str(error)), icon=":material/error:")
        return False, None


def _cluster() -> Cluster:
    """What the form asks the cluster for.

    Raises:
        ConfigError: a value is wrong.
    """
    state = st.session_state
    options = sbatch_options(str(state.get("slurm_options", "")).split())
    asked = {"partition": str(state.get("slurm_partition", "")).strip(), "gpus": state.get("slurm_gpus", 1)}
    return Cluster.parse({**asked, "options": options}, where="slurm")


def _flavour_line(flavour: Flavour) -> str:
    card = f"{flavour.gpus} × {flavour.gpu}" if flavour.gpus else "no GPU"
    return f"{flavour.title}: {card}, ${flavour.dollars_per_hour:.2f} per hour"


def _show_estimate(expected: Estimate | None) -> None:
    if expected is None:
        st.caption(":material/schedule: The duration on this hardware is unknown.")
        return
    shortest, longest = map(in_words, expected.seconds)
    cost = "" if expected.dollars is None else f", {cost_in_words(expected.dollars)}"
    number, _, unit = shortest.partition(" ")
    span = f"{number} to {longest}" if longest.endswith(unit) else f"{shortest} to {longest}"
    st.markdown(f":material/schedule: Steps: about **{span}**{cost}", help=escape.markdown(expected.grounds))


@for_admins
def _launch(who: str) -> str:
    """Start the job; all values are read and validated again on the server."""
    state, store = st.session_state, JobStore()
    recipe = state[RECIPE]
    config = prepare(recipe, _entered_values(recipe, fields_of(shipped_recipe(recipe))))
    if state.get("where") == HUB:
        job = HubRunner(store).submit(
            config,
            flavour=state["flavour"],
            by=who,
            namespace=state.get("hub_namespace", "").strip(),
            timeout_minutes=int(state.get("hub_timeout", 240)),
            publication={"repo_id": state.get("hub_repository", "").strip()},
        )
    else:
        missing = [finding for finding in check_data(config) if not finding.there]
        if missing:
            raise JobError(missing[0].words)
        if state.get("where") == SLURM:
            cluster, count = _cluster(), 1
            place = {"cluster": cluster, "timeout_minutes": int(state.get("slurm_timeout", 240))}
        else:
            cluster, count = None, int(state.get("processes", 1))
            place = {"processes": {"count": count}}
        expected = estimate(config, store, processes=count, cluster=cluster)
        seconds = None if expected is None else expected.seconds
        where = "local" if cluster is None else "slurm"
        job = PLACES[where](store).submit(config, by=who, expected_seconds=seconds, **place)
    audit(who, "launched", job=job.id, where=job.where, title=config.title)
    state[ROOM], state[CHOSEN] = "Jobs", job.id
    return f"{job.title} is queued."


@st.cache_data(ttl=CHECKED, max_entries=32, show_spinner=False)
def _data(config: str) -> list[DataFinding]:
    return check_data(RunConfig.model_validate_json(config))


@st.cache_data(ttl=600, show_spinner=False)
def _cards() -> int:
    return graphics_cards()


@st.cache_data(ttl=600, show_spinner="Asking the Hub for hardware and prices")
def _flavours() -> list[Flavour]:
    return HubRunner(JobStore()).flavours()
