"""The admin page: shut without a key, and every handler asks again on the server."""

from __future__ import annotations

import inspect
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from sim2street.app.admin import admission, job_detail, launch_form, storage_room
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.jobs import access, local
from sim2street.training.jobs.evaluation import evaluate_job
from sim2street.training.jobs.record import Cluster, Job, JobState, Publication
from sim2street.training.jobs.store import JobStore, promoted_names
from tests.app.conftest import save_tiny
from tests.training.jobs.conftest import cluster as cluster  # a fixture

ENTRY = Path(__file__).parents[3] / "app" / "main.py"
PASSWORD = "correct horse battery"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SIM2STREET_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(access, "COST", (2**14, 1, 1))
    for name in (access.HASH_VARIABLE, access.MEMBERS_VARIABLE, "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    # Trainings are started in tests/training/jobs and in the browser; here they are only queued.
    for module in (local, job_detail.local):
        monkeypatch.setattr(module, "attend", lambda store: False)
    for name in ("publication", "evaluation"):
        monkeypatch.setattr(f"sim2street.training.jobs.{name}.attend", lambda store: False)
    monkeypatch.setattr(access, "GATE", access.Gate())
    st.cache_resource.clear()
    yield tmp_path / "runs"
    st.cache_resource.clear()


def open_page(**state: Any) -> AppTest:
    page = AppTest.from_file(str(ENTRY), default_timeout=240)
    for key, value in state.items():
        page.session_state[key] = value
    page.run()
    return page.switch_page("views/admin.py").run()


def signed_in() -> AppTest:
    access.set_password(PASSWORD)
    page = open_page()
    page.text_input(key=admission.ATTEMPT).set_value(PASSWORD)
    button(page, "Sign in").click().run()
    assert not page.exception
    return page


def button(page: AppTest, label: str) -> Any:
    return next(item for item in page.button if item.label == label)


def room(page: AppTest, name: str) -> AppTest:
    page.segmented_control(key=launch_form.ROOM).set_value(name).run()
    assert not page.exception
    return page


def words_of(page: AppTest) -> str:
    items = (*page.header, *page.markdown, *page.caption, *page.info, *page.error, *page.warning)
    return "\n".join(unescaped(str(item.value)) for item in items)


def said(page: AppTest) -> str:
    """The first error as a person reads it."""
    return unescaped(page.error[0].value)


def unescaped(text: str) -> str:
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", text)


def finished() -> Job:
    store = JobStore()
    from tests.training.jobs.conftest import tiny_config

    job = store.create(tiny_config())
    save_tiny(store.run(job.id), "checkpoint", "source_only", "Tiny")
    line = {"step": 4, "losses": {"segmentation": 1.5}, "seconds": 0.5}
    report = {"miou": 0.25, "iou_per_class": {"road": 0.5, "sky": None}}
    (store.run(job.id) / "progress.jsonl").write_text(
        json.dumps(line) + "\n" + json.dumps({"step": 4, "figures": {"street_scenes/game": report}}) + "\n"
    )
    store.change(job.id, lambda found: found.to(JobState.RUNNING))
    return store.change(job.id, lambda found: found.to(JobState.SUCCEEDED))


def test_without_a_key_the_page_explains_how_to_set_one(runs: Path) -> None:
    page = open_page()
    assert not page.exception
    assert "no password or admin has been set up" in page.info[0].value
    assert "sim2street admin set-password" in words_of(page)
    assert not page.text_input


def test_the_door_is_all_that_a_stranger_sees(runs: Path) -> None:
    access.set_password(PASSWORD)
    finished()
    page = open_page()
    assert [item.label for item in page.button] == ["Sign in"]
    assert "Tiny" not in words_of(page)
    page.text_input(key=admission.ATTEMPT).set_value("wrong password")
    button(page, "Sign in").click().run()
    assert said(page) == "Wrong password."
    assert [item.label for item in page.button] == ["Sign in"]
    assert PASSWORD not in (runs / access.AUDIT).read_text()


def test_clearing_the_caches_does_not_lift_the_lock_out(runs: Path) -> None:
    """A browser may ask Streamlit to forget all that it caches; whoever guesses must not gain by it."""
    access.set_password(PASSWORD)
    page = open_page()
    for _ in range(access.FREE_FAILURES + 1):
        page.text_input(key=admission.ATTEMPT).set_value("wrong password")
        button(page, "Sign in").click().run()
        st.cache_resource.clear()
        st.cache_data.clear()
    assert said(page).startswith("Too many wrong passwords")
    stranger = open_page()
    stranger.text_input(key=admission.ATTEMPT).set_value(PASSWORD)
    button(stranger, "Sign in").click().run()
    assert said(stranger).startswith("Too many wrong passwords")


@pytest.mark.parametrize("token", [True, "admin", "password", {"who": "password"}, "x" * 43])
def test_forged_session_state_opens_nothing(runs: Path, token: object) -> None:
    access.set_password(PASSWORD)
    job = finished()
    page = open_page(admin_token=token, admin=True, is_admin=True, admin_room="Jobs", admin_job=job.id)
    assert not page.exception
    assert [item.label for item in page.button] == ["Sign in"]


def test_every_handler_asks_the_gate(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called as Streamlit would, without a session: nothing happens, and the notice says why."""
    access.set_password(PASSWORD)
    job = finished()
    state: dict[str, Any] = {
        "admin_recipe": "try_one_minute",
        f"promote/{job.id}": "evil",
        f"repository/{job.id}": "evil/evil",
        f"set/{job.id}": "street_scenes",
    }
    monkeypatch.setattr(st, "session_state", state)
    handlers = [
        *(
            (getattr(job_detail, name), (job.id,))
            for name in ("_cancel", "_retry", "_promote", "_evaluate", "_publish", "_delete")
        ),
        *((getattr(storage_room, name), (job.id,)) for name in ("_withdraw", "_restore")),
        (storage_room._empty, ()),
        (storage_room._remove_unused, ()),
        (launch_form._launch, ()),
    ]
    for handler, arguments in handlers:
        state.pop(admission.NOTICE, None)
        handler(*arguments)
        assert state[admission.NOTICE] == ("error", "Sign in first.")
    assert JobStore().jobs() == [job]
    assert promoted_names() == []
    modules = (job_detail, storage_room, launch_form)
    actions = {
        name
        for module in modules
        for name, value in vars(module).items()
        if hasattr(value, "__wrapped__") and next(iter(inspect.signature(value.__wrapped__).parameters), "") == "who"
    }
    assert actions == {handler.__wrapped__.__name__ for handler, _ in handlers}  # none was forgotten above


def test_launching_queues_what_the_form_shows(runs: Path) -> None:
    page = signed_in()
    page.number_input(key="field/try_one_minute/steps").set_value(30).run()
    assert "instead of 240" in words_of(page)
    assert page.number_input(key="field/try_one_minute/steps").label == "Steps"
    assert ":small[:primary[was 240]]" in [words.value for words in page.markdown]
    button(page, "Launch").click().run()
    assert not page.exception
    job = JobStore().jobs()[0]
    assert (job.state, job.steps, job.recipe, job.by) == (JobState.QUEUED, 30, "try_one_minute", "password")
    assert page.segmented_control(key=launch_form.ROOM).value == "Jobs"
    assert "One minute" in words_of(page)
    assert "Source-only · on this machine · attempt 1 · launched in the browser" in words_of(page)
    button(page, "Cancel").click().run()
    assert JobStore().get(job.id).state is JobState.CANCELLED
    assert button(page, "Resume")
    actions = [json.loads(line)["action"] for line in (runs / access.AUDIT).read_text().splitlines()]
    assert actions == ["signed in", "launched", "cancelled"]


def test_a_job_is_launched_on_a_cluster_or_the_cluster_is_quoted(
    runs: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cluster / "squeue.txt").write_text("77|PENDING|Priority\n")
    page = signed_in()
    page.segmented_control(key="where").set_value(launch_form.SLURM).run()
    page.text_input(key="slurm_options").set_value("acount=vision").run()
    assert "the nearest is 'account'" in said(page)
    assert button(page, "Launch").disabled
    page.text_input(key="slurm_options").set_value("account=vision mem=64G").run()
    page.text_input(key="slurm_partition").set_value("gpu").run()
    page.number_input(key="slurm_gpus").set_value(2).run()
    (cluster / "sbatch.err").write_text("sbatch: error: Invalid account\n")
    button(page, "Launch").click().run()
    assert "The cluster refused the job: Invalid account" in words_of(page)
    (cluster / "sbatch.err").unlink()
    button(page, "Launch").click().run()
    assert not page.exception
    job = JobStore().jobs()[0]
    assert job.cluster == Cluster(partition="gpu", gpus=2, options={"account": "vision", "mem": "64G"})
    assert "SLURM, job 77, gpu, 2 GPUs" in words_of(page)
    assert "Waiting in the cluster's queue (Priority)" in words_of(page)


def test_no_label_holds_markup_which_screen_readers_would_read_out(runs: Path) -> None:
    page = signed_in()
    page.selectbox(key=launch_form.RECIPE).set_value("demo_advent_game_to_camvid").run()
    labels = [
        field.label for kind in (page.text_input, page.number_input, page.selectbox, page.toggle) for field in kind
    ]
    assert "Width" in labels
    assert not [label for label in labels if set(label) & set("[]*\\")]
    assert "paper: 1" in [caption.value for caption in page.caption]


def test_wrong_values_get_a_sentence_and_cannot_be_launched(runs: Path) -> None:
    page = signed_in()
    page.text_input(key="field/try_one_minute/optimisers.segmenter.rate").set_value("$(id)").run()
    assert "optimisers.segmenter.rate is '$(id)'; expected a number." in said(page)
    assert button(page, "Launch").disabled


def test_another_room_leaves_the_form_as_it_was_filled_in(runs: Path) -> None:
    page = signed_in()
    page.selectbox(key=launch_form.RECIPE).set_value("demo_source_only_game").run()
    page.number_input(key="field/demo_source_only_game/steps").set_value(30).run()
    page.text_input(key="field/demo_source_only_game/optimisers.segmenter.rate").set_value("much").run()
    room(page, "Jobs")
    page.run()
    room(page, "Train")
    assert page.selectbox(key=launch_form.RECIPE).value == "demo_source_only_game"
    assert page.number_input(key="field/demo_source_only_game/steps").value == 30
    assert "is 'much'; expected a number." in said(page)
    page.text_input(key="field/demo_source_only_game/optimisers.segmenter.rate").set_value("0.01").run()
    room(room(page, "Storage"), "Train")
    button(page, "Launch").click().run()
    assert JobStore().jobs()[0].steps == 30
    assert JobStore().config(JobStore().jobs()[0].id).optimisers["segmenter"].rate == 0.01


def test_another_page_leaves_the_form_as_it_was_filled_in(runs: Path, cluster: Path) -> None:
    page = signed_in()
    page.selectbox(key=launch_form.RECIPE).set_value("demo_source_only_game").run()
    page.number_input(key="field/demo_source_only_game/steps").set_value(30).run()
    page.text_input(key="field/demo_source_only_game/optimisers.segmenter.rate").set_value("0.01").run()
    page.segmented_control(key="where").set_value(launch_form.SLURM).run()
    page.text_input(key="slurm_partition").set_value("gpu").run()
    page.switch_page("views/checkpoints.py").run()
    assert launch_form.RECIPE not in page.session_state, "Streamlit has forgotten it"
    page.switch_page("views/admin.py").run()
    assert not page.exception
    assert page.selectbox(key=launch_form.RECIPE).value == "demo_source_only_game"
    assert page.number_input(key="field/demo_source_only_game/steps").value == 30
    assert page.text_input(key="field/demo_source_only_game/optimisers.segmenter.rate").value == "0.01"
    assert page.segmented_control(key="where").value == launch_form.SLURM
    assert page.text_input(key="slurm_partition").value == "gpu"
    button(page, "Launch").click().run()
    assert (JobStore().jobs()[0].steps, JobStore().jobs()[0].cluster) == (30, Cluster(partition="gpu"))


def test_missing_data_is_named_and_cannot_be_launched(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIM2STREET_CAMVID", raising=False)
    page = signed_in()
    page.selectbox(key=launch_form.RECIPE).set_value("demo_advent_game_to_camvid").run()
    assert "SIM2STREET_CAMVID" in words_of(page)
    assert button(page, "Launch").disabled


def test_a_finished_job_is_promoted_evaluated_deleted_and_brought_back(runs: Path) -> None:
    job = finished()
    page = room(signed_in(), "Jobs")
    assert "IoU per class on game" in words_of(page)
    assert "Source-only · on this machine · attempt 1 · launched in a terminal" in words_of(page)
    page.text_input(key=f"promote/{job.id}").set_value("../../evil").run()
    button(page, "Add to the catalog").click().run()
    assert "letters, digits and _" in said(page)
    page.text_input(key=f"promote/{job.id}").set_value("mine").run()
    button(page, "Add to the catalog").click().run()
    assert promoted_names() == ["mine"]
    page.number_input(key=f"count/{job.id}").set_value(2).run()
    button(page, "Evaluate").click().run()
    wish = JobStore().get(job.id).evaluation
    assert wish is not None
    assert (wish.dataset, wish.style, wish.state) == ("street_scenes", "game", "waiting")
    assert evaluate_job(JobStore(), job.id).state == "done"  # as the runner would
    assert "street_scenes/game (2 scenes)" in Checkpoint.open(JobStore().run(job.id) / "checkpoint").metrics
    page.run()
    assert "game (2 scenes)" in list(page.dataframe[0].value["Set"])
    page.text_input(key=f"repository/{job.id}").set_value("https://evil.example").run()
    button(page, "Publish to the Hub").click().run()
    assert "such as 'your-account/your-model'" in said(page)
    wish = Publication(repo_id="adda/mine", attempts=1, error="The token may not write there.")
    JobStore().change(job.id, lambda found: found.having(publication=wish))
    page.run()
    assert "The token may not write there. The next attempt comes by itself." in [each.value for each in page.warning]
    page.text_input(key=f"repository/{job.id}").set_value("ada/mine").run()
    button(page, "Publish to the Hub").click().run()
    corrected = JobStore().get(job.id).publication
    assert corrected is not None
    assert (corrected.repo_id, corrected.attempts) == ("ada/mine", 0)
    JobStore().change(job.id, lambda found: found.having(publication=None))
    page.run()
    button(page, "Delete").click().run()
    assert JobStore().jobs() == []
    room(page, "Storage")
    button(page, "Restore").click().run()
    assert [found.id for found in JobStore().jobs()] == [job.id]
    button(page, "Remove").click().run()
    assert promoted_names() == []


def test_stored_data_sets_that_no_run_used_for_long_can_be_removed(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "samples"
    folder.mkdir(parents=True)
    for name, days in (("fresh", 6), ("old", 8)):
        path = folder / f"{name}.photos.npy"
        path.write_bytes(bytes(2000))
        when = time.time() - 86400 * days
        os.utime(path, (when, when))
    page = room(signed_in(), "Storage")
    assert "Stored data sets" in [metric.label for metric in page.metric]
    button(page, "Remove copies unused for 7 days (2.0 kB)").click().run()
    assert [path.name for path in folder.iterdir()] == ["fresh.photos.npy"]
    assert not [found for found in page.button if found.label.startswith("Remove copies")]


def test_runs_are_compared(runs: Path) -> None:
    finished()
    page = room(signed_in(), "Compare runs")
    assert "at least two jobs" in page.info[0].value
    finished()
    room(page, "Train")
    room(page, "Compare runs")
    assert [row["Run"] for row in page.dataframe[0].value.to_dict("records")] == ["2 · Tiny", "1 · Tiny"]


def test_a_damaged_job_does_not_take_the_page_down(runs: Path) -> None:
    job = finished()
    place = JobStore().place(job.id)
    (place / "job.json").write_text("{")
    page = room(signed_in(), "Jobs")
    assert "record is damaged" in words_of(page)
    (place / "recipe.json").write_text("{")
    page.run()
    assert not page.exception
    assert "cannot be read" in words_of(page)


def test_a_job_of_a_version_with_other_keys_can_still_be_deleted_and_hinders_no_other(runs: Path) -> None:
    job = finished()
    (JobStore().place(job.id) / "recipe.json").write_text('{"key_of_old": 1}')
    page = signed_in()
    assert not button(page, "Launch").disabled
    room(page, "Jobs")
    assert "unknown key 'key_of_old'" in said(page)
    button(page, "Delete").click().run()
    assert [found.id for found in JobStore().trash()] == [job.id]


def test_titles_are_words_and_no_markup(runs: Path) -> None:
    title = "<img src=x> **b** $x$ :red[r]"
    page = signed_in()
    page.text_input(key="field/try_one_minute/title").set_value(title).run()
    button(page, "Launch").click().run()
    assert JobStore().jobs()[0].title == title
    assert title in words_of(page)
    assert not any(title in str(item.value) for item in (*page.header, *page.markdown))


def test_a_damaged_hash_makes_nobody_an_admin(runs: Path) -> None:
    page = signed_in()
    (runs / access.SETTINGS).write_text("{")
    page.run()
    assert not page.exception
    assert "Set the password again" in said(page)
    assert not page.button


def test_signing_out_ends_it_on_the_server(runs: Path) -> None:
    page = signed_in()
    token = page.session_state[admission.TOKEN]
    button(page, "Sign out").click().run()
    assert [item.label for item in page.button] == ["Sign in"]
    again = open_page(admin_token=token)
    assert [item.label for item in again.button] == ["Sign in"]


def test_an_idle_session_is_shut_and_says_so(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = signed_in()
    monkeypatch.setattr(access, "IDLE_SECONDS", -1.0)
    button(page, "Launch").click().run()
    assert JobStore().jobs() == []
    assert "session has ended" in words_of(page)
    assert [item.label for item in page.button] == ["Sign in"]


def test_organisation_sign_in_needs_a_verified_address_on_the_list(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.MEMBERS_VARIABLE, "ada@example.org")
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: object()
    )  # Authlib, which only signing in itself needs
    page = AppTest.from_file(str(ENTRY), default_timeout=240)
    page.secrets["auth"] = {"client_id": "x"}
    for verified, offered in ((False, False), (True, True)):
        page.user = {"is_logged_in": True, "email": "ada@example.org", "email_verified": verified}
        page.run()
        page.switch_page("views/admin.py").run()
        assert any(item.label == "Continue as ada@example.org" for item in page.button) is offered
    button(page, "Continue as ada@example.org").click().run()
    assert button(page, "Sign out ada@example.org")
