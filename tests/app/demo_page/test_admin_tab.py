"""The hosted admin's tab: who may, with the real client against a local Hub, and every handler asked without anybody."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from sim2street.app.demo_page import admin_tab
from sim2street.models.errors import Sim2StreetError
from sim2street.training.jobs import access
from sim2street.training.jobs.hub import IMAGE_VARIABLE
from tests.hub_server import WRITE, HubServer

NOBODY: tuple[None, None] = (None, None)


def person(name: str) -> tuple[gr.OAuthProfile, gr.OAuthToken]:
    profile = {"name": name.title(), "preferred_username": name, "profile": "", "picture": ""}
    return gr.OAuthProfile(profile), gr.OAuthToken(token=WRITE, scope="jobs", expires_at=2**31)


@pytest.fixture
def runs(tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIM2STREET_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv(access.MEMBERS_VARIABLE, "Maker")
    monkeypatch.setenv("OAUTH_CLIENT_ID", "client")
    monkeypatch.setenv(IMAGE_VARIABLE, "registry.example/sim2street")
    # As on a Space: elsewhere Gradio would sign everybody in as the server's own user.
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "maker/sim2street")
    # Gradio's own sign-in routes want authlib and the Hub; what is tested is what our handlers do with their word.
    monkeypatch.setattr("gradio.routes.attach_oauth", lambda app: None)
    return tmp_path / "runs"


def launch(
    who: tuple[Any, Any], changes: str = "steps = 30", flavour: str = "t4-small", repository: str = "maker/x"
) -> Any:
    return admin_tab.launch("try_one_minute", changes, flavour, repository, "", 60, *who)


def test_without_oauth_or_a_list_the_tab_is_shut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OAUTH_CLIENT_ID", raising=False)
    with gr.Blocks() as demo:
        admin_tab.build_admin_tab(demo)
    assert [block.value for block in demo.blocks.values() if isinstance(block, gr.Markdown)] == [
        inspect.cleandoc(admin_tab.CLOSED)
    ]
    assert demo.fns == {}


def test_elsewhere_than_on_a_space_nobody_is_let_in(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert admin_tab.is_open()
    monkeypatch.delenv("SYSTEM")
    assert not admin_tab.is_open()


def test_every_handler_of_the_tab_asks_who_it_is(runs: Path, hub: HubServer) -> None:
    with gr.Blocks() as demo:
        admin_tab.build_admin_tab(demo)
    handlers = {item.fn for item in demo.fns.values() if getattr(item.fn, "__module__", "") == admin_tab.__name__}
    assert {handler.__name__ for handler in handlers} == {
        *("show_or_hide_controls", "list_hardware", "refresh", "plan", "launch", "look_at", "cancel", "retry")
    }
    for handler in handlers - {admin_tab.show_or_hide_controls}:
        names = list(inspect.signature(handler).parameters)
        assert names[-2:] == ["profile", "token"]
        for who, words in ((NOBODY, "Sign in"), (person("mallory"), "is not an admin of this Space")):
            with pytest.raises(gr.Error, match=words):
                handler(*([""] * (len(names) - 2)), *who)
    assert admin_tab.show_or_hide_controls(*NOBODY)[0]["visible"] is False
    assert admin_tab.show_or_hide_controls(*person("mallory"))[0]["visible"] is False
    assert admin_tab.show_or_hide_controls(*person("maker"))[0]["visible"] is True
    assert hub.asked("/api/jobs") == 0
    assert "refused" in (runs / access.AUDIT).read_text()


def test_a_job_is_planned_launched_watched_and_cancelled_with_the_persons_own_token(runs: Path, hub: HubServer) -> None:
    maker = person("maker")
    hardware = admin_tab.list_hardware(*maker)
    assert ("T4 small, $0.40 per hour", "t4-small") in hardware["choices"]
    words = admin_tab.plan("try_one_minute", "steps = 30", "t4-small", *maker)
    assert "`steps` is 30; the recipe uses 240" in words
    assert "$" in words
    rows, chosen = launch(maker)
    assert rows[0][:5] == [chosen["value"], "One minute", "queued", 30, "t4-small"]
    there = next(iter(hub.jobs.values()))
    assert json.loads(there["environment"]["SIM2STREET_RECIPE"])["steps"] == 30
    there["logs"] = ["hello", 'progress {"step": 5, "losses": {"segmentation": 1.25}, "seconds": 2.0}']
    words, losses, quality, printed = admin_tab.look_at(chosen["value"], *maker)
    assert "is running, step 5 of 30. 50 seconds left." in words
    assert losses is not None
    assert quality is None
    assert printed == "hello"
    assert admin_tab.cancel(chosen["value"], *maker)[0][2] == "cancelled"
    assert not any(WRITE in path.read_text(errors="replace") for path in runs.rglob("*") if path.is_file())


def test_a_restarted_space_finds_the_jobs_again(runs: Path, hub: HubServer) -> None:
    maker = person("maker")
    _, chosen = launch(maker)
    runs.rename(runs.with_name("gone"))
    rows, found = admin_tab.refresh("", None, *maker)
    assert [row[0] for row in rows] == [chosen["value"]] == found["choices"]
    assert found["value"] == chosen["value"]
    older = chosen["value"]
    launch(maker)
    rows, found = admin_tab.refresh("", older, *maker)
    assert len(rows) == 2
    assert found["value"] == older, "what is chosen stays so: the buttons beside it act on it"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"changes": "sources.0.root = '/etc'"}, "cannot be changed here"),
        ({"changes": "steps; rm -rf /"}, "expected one change per line"),
        ({"changes": "steps = many"}, "expected a number"),
        ({"flavour": "h200x8; ls"}, "There is no hardware"),
        ({"repository": "../../x"}, "repository is"),
        ({"repository": ""}, "repository is"),
    ],
)
def test_tricks_are_refused_with_a_sentence(runs: Path, hub: HubServer, changed: dict[str, str], words: str) -> None:
    with pytest.raises(gr.Error, match=words):
        launch(person("maker"), **changed)
    assert hub.jobs == {}


@pytest.mark.parametrize("job", ["../../etc", "0001-x/../..", "", None, "9999-none"])
def test_no_job_name_is_a_path(runs: Path, job: str | None) -> None:
    for act in (admin_tab.cancel, admin_tab.retry):
        with pytest.raises(gr.Error, match=r"is not a job id|There is no job"):
            act(job, *person("maker"))


def test_lines_of_changes_are_typed_as_in_a_recipe() -> None:
    found = admin_tab.read_changes("steps = 5\n\ntitle = Mine\nsource_transform.crop = [64, 32]\n")
    assert found == {"steps": 5, "title": "Mine", "source_transform.crop": [64, 32]}
    with pytest.raises(Sim2StreetError, match="expected one change per line"):
        admin_tab.read_changes("steps")
