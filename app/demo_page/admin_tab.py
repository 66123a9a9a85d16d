"""The Admin tab of the hosted demo: sign in with Hugging Face, and train on Hugging Face Jobs with the user's own token.

    with gr.Tab("Admin"):
        build_admin_tab(demo)

Streamlit's sign-in needs cookies, which browsers block inside a Space's frame; Gradio's OAuth works there. Every handler
checks again who is signed in and whether the allow-list includes them. The token is never stored. Jobs are found by their
labels on the Hub, so a restarted Space loses none.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import gradio as gr
import plotly.graph_objects as go
from gradio.utils import get_space

from sim2street.app.content import curves, escape
from sim2street.models.errors import ConfigError, Sim2StreetError
from sim2street.models.storage.files import runs_folder
from sim2street.training.config import recipe_names
from sim2street.training.durations import in_words
from sim2street.training.jobs import log
from sim2street.training.jobs.access import MEMBERS_VARIABLE, AccessError, audit, members
from sim2street.training.jobs.estimate import cost_in_words, estimate
from sim2street.training.jobs.hub import HubRunner
from sim2street.training.jobs.launch import differences, prepare
from sim2street.training.jobs.progress import read_progress
from sim2street.training.jobs.record import Job
from sim2street.training.jobs.store import LOG, JobStore

CLOSED: Final = f"""### Admin
This tab is closed. To open it on a Space, set `hf_oauth: true` with the scope `jobs` in its card, and list the admins' Hub
names in the variable `{MEMBERS_VARIABLE}`. Training then runs on Hugging Face Jobs, paid for by the person who starts it."""
HEADERS: Final = ["Job", "Title", "State", "Steps", "Hardware", "Why"]


@dataclass(frozen=True)
class Admin:
    """A signed-in and admitted user, with their jobs and their access to the Hub."""

    name: str
    store: JobStore
    runner: HubRunner


def admin_of(profile: gr.OAuthProfile | None, token: gr.OAuthToken | None) -> Admin:
    """Return the admin who sent a request.

    Raises:
        AccessError: nobody is signed in, or the user is not on the allow-list.
    """
    if profile is None or token is None:
        raise AccessError("Sign in with Hugging Face first.")
    name = profile.username
    if name.lower() not in members():
        audit(name, "refused in the hosted tab")
        raise AccessError(
            f"{name} is not an admin of this Space; its owner can add the name to the variable {MEMBERS_VARIABLE}."
        )
    # One folder per user: all users of a Space share its disk but must not see each other's jobs.
    folder = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name.lower())
    store = JobStore(runs_folder() / "people" / folder / "jobs")
    return Admin(name, store, HubRunner(store, token.token))


def is_open() -> bool:
    """Whether this server can identify users and at least one is on the allow-list.

    Only a Space can: elsewhere, Gradio signs every visitor in as the owner of the server's own token, for development.
    """
    return get_space() is not None and bool(os.environ.get("OAUTH_CLIENT_ID")) and bool(members())


def read_changes(text: str) -> dict[str, Any]:
    """Parse lines of `key = value`; values are TOML, and a bare word is text.

    Raises:
        ConfigError: a line has no `=`.
    """
    found: dict[str, Any] = {}
    for line in filter(str.strip, (text or "").splitlines()):
        key, equals, value = line.partition("=")
        if not equals:
            raise ConfigError(f"Found the line {line[:60]!r}; expected one change per line, such as steps = 200.")
        try:
            found[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key.strip()] = value.strip()
    return found


def answer(action: Callable[[], Any]) -> Any:
    """Run a handler's work, and convert its errors to Gradio's."""
    try:
        return action()
    except Sim2StreetError as error:
        raise gr.Error(escape.html(str(error)), duration=12, print_exception=False) from error


def show_or_hide_controls(profile: gr.OAuthProfile | None, token: gr.OAuthToken | None) -> tuple[Any, str]:
    """Show or hide the tab's controls, with a greeting or the reason."""
    try:
        admin = admin_of(profile, token)
    except AccessError as error:
        return gr.update(visible=False), escape.markdown(str(error))
    return gr.update(
        visible=True
    ), f"Signed in as **{escape.markdown(admin.name)}**. The account named below pays for the jobs."


def list_hardware(profile: gr.OAuthProfile | None, token: gr.OAuthToken | None) -> Any:
    """The hardware that the Hub currently offers, with prices."""

    def look() -> Any:
        flavours = admin_of(profile, token).runner.flavours()
        choices = [(f"{item.title}, ${item.dollars_per_hour:.2f} per hour", item.name) for item in flavours]
        return gr.update(choices=choices, value=flavours[0].name if flavours else None)

    return answer(look)


def plan(recipe: str, changes: str, flavour: str, profile: gr.OAuthProfile | None, token: gr.OAuthToken | None) -> str:
    """Describe what would run, how it differs from recipe and paper, and its expected time and cost."""

    def think() -> str:
        admin, entered = admin_of(profile, token), read_changes(changes)
        config = prepare(recipe, entered)
        lines = [f"**{escape.markdown(config.title)}**: {escape.markdown(config.method)}, {config.steps} steps."]
        for item in differences(recipe, entered):
            paper = f", the paper uses {item.paper}" if item.paper else ""
            if item.value != item.recipe or paper:
                said = escape.markdown(f"is {item.value}; the recipe uses {item.recipe}{paper}")
                lines.append(f"- {escape.code(item.key)} {said}")
        chosen = next((item for item in admin.runner.flavours() if item.name == flavour), None)
        expected = None if chosen is None else estimate(config, admin.store, flavour=chosen)
        if expected is None or expected.dollars is None:
            lines.append("The time needed on this hardware is unknown.")
        else:
            span, cost = map(in_words, expected.seconds), expected.dollars
            lines.append(
                f"Steps: about {' to '.join(span)}, {cost_in_words(cost)}. {escape.markdown(expected.grounds)}"
            )
        return "\n".join(lines)

    return answer(think)


def launch(
    recipe: str,
    changes: str,
    flavour: str,
    repository: str,
    namespace: str,
    minutes: float,
    profile: gr.OAuthProfile | None,
    token: gr.OAuthToken | None,
) -> tuple[list[list[Any]], Any]:
    """Start a job with the admin's own token; returns the table of jobs and an update that selects the new one."""

    def start() -> tuple[list[list[Any]], Any]:
        admin = admin_of(profile, token)
        known = [item.name for item in admin.runner.flavours()]
        if flavour not in known:
            raise ConfigError(f"There is no hardware {str(flavour)[:40]!r}; known are {', '.join(known)}.")
        job = admin.runner.submit(
            prepare(recipe, read_changes(changes)),
            flavour=flavour,
            by=admin.name,
            namespace=(namespace or "").strip() or admin.name,
            timeout_minutes=int(minutes or 0),
            publication={"repo_id": (repository or "").strip()},
        )
        audit(admin.name, "launched on the Hub", job=job.id, flavour=flavour)
        return table(admin), gr.update(choices=[item.id for item in admin.store.jobs()], value=job.id)

    return answer(start)


def refresh(
    namespace: str, chosen: str | None, profile: gr.OAuthProfile | None, token: gr.OAuthToken | None
) -> tuple[list[list[Any]], Any]:
    """List all jobs of an account on the Hub, found by their labels; the one that is chosen stays so."""

    def ask() -> tuple[list[list[Any]], Any]:
        admin = admin_of(profile, token)
        admin.runner.rebuild((namespace or "").strip() or admin.name)
        names = [job.id for job in admin.store.jobs()]
        kept = chosen if chosen in names else next(iter(names), None)
        return table(admin), gr.update(choices=names, value=kept)

    return answer(ask)


def look_at(
    job: str | None, profile: gr.OAuthProfile | None, token: gr.OAuthToken | None
) -> tuple[str, go.Figure | None, go.Figure | None, str]:
    """Show a job: its state, loss curves, IoU per class, and the end of its log."""

    def look() -> tuple[str, go.Figure | None, go.Figure | None, str]:
        admin = admin_of(profile, token)
        if not job:
            return "", None, None, ""
        record = admin.runner.refresh(job)
        progress = read_progress(admin.store.config(job), admin.store.run(job))
        losses = curves.loss_curves(progress.losses) if progress.losses else None
        quality = None
        if progress.figures:
            steps, reports = next(iter(progress.figures.values()))
            quality = curves.class_map(steps, reports)
        left = progress.seconds_left
        words = (
            f"**{escape.markdown(record.title)}** is {record.state.value}, step {progress.step} of {progress.steps}."
        )
        if left and not record.state.ended:
            words += f" {in_words(left)} left."
        if record.reason:
            words += f" {escape.markdown(record.reason)}"
        if record.publication is not None and record.publication.url:
            name = escape.markdown(record.publication.repo_id)
            words += f" [{name}]({escape.address(record.publication.url)})"
        return words, losses, quality, "\n".join(log.tail(admin.store.place(job) / LOG, 60))

    return answer(look)


def cancel(job: str | None, profile: gr.OAuthProfile | None, token: gr.OAuthToken | None) -> list[list[Any]]:
    """Cancel a job on the Hub."""
    return answer(lambda: _act(admin_of(profile, token), job, "cancelled"))


def retry(job: str | None, profile: gr.OAuthProfile | None, token: gr.OAuthToken | None) -> list[list[Any]]:
    """Run a job again that has ended."""
    return answer(lambda: _act(admin_of(profile, token), job, "retried"))


def _act(admin: Admin, job: str | None, action: str) -> list[list[Any]]:
    act = {"cancelled": admin.runner.cancel, "retried": admin.runner.retry}[action]
    act(job or "")
    audit(admin.name, f"{action} on the Hub", job=job)
    return table(admin)


def table(admin: Admin) -> list[list[Any]]:
    """One row per job, latest first."""
    return [_row(job) for job in admin.store.jobs()]


def _row(job: Job) -> list[Any]:
    return [job.id, job.title, job.state.value, job.steps, job.flavour, job.reason]


def build_admin_tab(demo: gr.Blocks) -> None:
    """Lay out the tab and connect it to `demo`; if nobody can sign in, show only an explanation."""
    if not is_open():
        gr.Markdown(CLOSED)
        return
    with gr.Row():
        greeting = gr.Markdown("Sign in with Hugging Face first.", latex_delimiters=[])
        gr.LoginButton(scale=0, min_width=260)
    with gr.Column(visible=False) as room:
        with gr.Row():
            with gr.Column():
                recipe = gr.Dropdown(recipe_names(), value="try_one_minute", label="Recipe")
                changes = gr.Textbox(
                    label="Changes",
                    lines=4,
                    placeholder="steps = 200\noptimisers.segmenter.rate = 1e-4",
                    max_length=4000,
                )
                with gr.Row():
                    flavour = gr.Dropdown([], label="Hardware", allow_custom_value=False)
                    minutes = gr.Number(240, label="Time limit, minutes", precision=0, minimum=5, maximum=10080)
                with gr.Row():
                    repository = gr.Textbox(
                        label="Repository for the checkpoint", placeholder="owner/name", max_length=96
                    )
                    namespace = gr.Textbox(label="Paid by", placeholder="you", max_length=96)
                with gr.Row():
                    planned = gr.Button("Estimate time and cost")
                    launched = gr.Button("Launch", variant="primary")
            plan_text = gr.Markdown(latex_delimiters=[])
        jobs = gr.Dataframe(headers=HEADERS, interactive=False, label="Jobs")
        with gr.Row():
            chosen = gr.Dropdown([], label="Job")
            refreshed = gr.Button("Refresh")
            cancelled = gr.Button("Cancel", variant="stop")
            retried = gr.Button("Retry")
        state = gr.Markdown(latex_delimiters=[])
        with gr.Row():
            losses, quality = gr.Plot(label="Losses"), gr.Plot(label="IoU per class")
        printed = gr.Textbox(label="Log", lines=12, max_lines=12, interactive=False)

    private: dict[str, Any] = {"api_visibility": "private"}
    shown = [state, losses, quality, printed]
    demo.load(show_or_hide_controls, None, [room, greeting], **private).success(
        list_hardware, None, flavour, **private
    ).success(refresh, [namespace, chosen], [jobs, chosen], **private)
    planned.click(plan, [recipe, changes, flavour], plan_text, **private)
    inputs = [recipe, changes, flavour, repository, namespace, minutes]
    launched.click(launch, inputs, [jobs, chosen], trigger_mode="once", **private)
    refreshed.click(refresh, [namespace, chosen], [jobs, chosen], **private).success(look_at, chosen, shown, **private)
    chosen.change(look_at, chosen, shown, **private)
    cancelled.click(cancel, chosen, jobs, **private)
    retried.click(retry, chosen, jobs, **private)
