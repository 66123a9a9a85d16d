"""A run followed by a tracker: what it is told, and that the run does not depend on it."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType

from sim2street.models.errors import ConfigError
from sim2street.training.config import load_recipe
from sim2street.training.run.loop import train
from sim2street.training.run.trackers import chosen_trackers

SHORT = ["steps=4", "log_every=2", "evaluate_every=0", "batch=2", "sources.0.count=2", "evaluations.0.count=1"]


class Told(GeneralTracker):
    """Keeps what it is told."""

    name = "trackio"
    requires_logging_directory = False
    main_process_only = True
    lines: list[tuple[str, Any]] = []  # noqa: RUF012
    broken = False

    def __init__(self, run_name: str, **kwargs: Any) -> None:
        super().__init__()
        self.lines.append(("run", (run_name, kwargs)))

    @property
    def tracker(self) -> None:
        return None

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.lines.append(("facts", values))

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        if self.broken:
            raise ConnectionError("no way there")
        self.lines.append(("log", (step, values)))

    def finish(self) -> None:
        self.lines.append(("finish", None))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> type[Told]:
    find = importlib.util.find_spec
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "trackio", Told)
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: [LoggerType.TRACKIO])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "trackio" else find(name))
    monkeypatch.setenv("SIM2STREET_TRACKERS", "trackio")
    monkeypatch.setattr(Told, "lines", [])
    return Told


def test_a_tracker_is_told_the_curves_and_no_folder(
    told: type[Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    train(load_recipe("try_one_minute", SHORT), tmp_path / "run")
    kinds = [kind for kind, _ in told.lines]
    assert kinds[:2] == ["run", "facts"]
    assert kinds[-1] == "finish"
    assert told.lines[0][1][0] == "sim2street"
    assert told.lines[0][1][1]["name"] == "run"
    assert told.lines[1][1]["source"] == "street_scenes/game"
    assert str(tmp_path) not in repr(told.lines)
    logged = [what for kind, what in told.lines if kind == "log"]
    steps = [json.loads(line) for line in (tmp_path / "run/progress.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["losses"]["segmentation"] for line in steps if "losses" in line}
    assert {step: values["loss/segmentation"] for step, values in logged if "loss/segmentation" in values} == losses
    assert any("miou/street_scenes/game" in values for _, values in logged)


def test_a_tracker_that_fails_is_left_alone_and_the_run_ends_well(
    told: type[Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Told, "broken", True)
    with caplog.at_level(logging.WARNING):
        checkpoint = train(load_recipe("try_one_minute", SHORT), tmp_path / "run")
    assert checkpoint is not None
    assert caplog.text.count("ConnectionError: no way there") == 1


def test_a_name_that_is_unknown_or_not_installed_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM2STREET_TRACKERS", "")
    assert chosen_trackers() == []
    monkeypatch.setenv("SIM2STREET_TRACKERS", "trackio, mlflow")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else object())
    with pytest.raises(ConfigError, match="expected trackio or wandb"):
        chosen_trackers()
    monkeypatch.setenv("SIM2STREET_TRACKERS", "wandb")
    with pytest.raises(ConfigError, match="pip install wandb"):
        chosen_trackers()
