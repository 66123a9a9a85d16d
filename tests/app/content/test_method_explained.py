"""What pages say of methods: all of it from the entry and the method's file, and nothing that is not there."""

from __future__ import annotations

import html
import inspect
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from sim2street.app.content import method_explained
from sim2street.app.content.method_explained import control_rows, detailed, introduced, losses, published_rows_of
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.methods import METHODS
from sim2street.training.methods.base import MethodOptions

OWN = [name for name, entry in METHODS.items() if entry.method.__module__.startswith("sim2street.")]


@pytest.mark.parametrize("name", OWN)
def test_every_method_tells_what_it_compares(name: str) -> None:
    entry = METHODS[name]
    assert entry.terms
    assert entry.explanation.endswith(".")
    shown = introduced(name) + detailed(name, [])
    for term in entry.terms:
        assert not term.weight or term.weight in entry.options.model_fields
        code = textwrap.dedent(inspect.getsource(term.code)).rstrip()
        assert f"<pre>{html.escape(code)}</pre>" in shown, "line by line"
    for words in (entry.idea, entry.explanation, *entry.options.model_fields):
        assert html.escape(words) in shown
    assert shown.lstrip().startswith("<style>")
    assert shown.count("<style>") == shown.count("</style>")
    assert "line 1<" not in shown  # a place in a file, not its beginning


@pytest.mark.parametrize("name", OWN)
def test_each_line_of_a_loss_has_its_code(name: str) -> None:
    entry = METHODS[name]
    formulas = [term.formula for term in entry.terms if term.formula]
    assert bool(formulas) is entry.trains
    loss = losses(name)
    for number, term in enumerate(entry.terms, start=1):
        assert (f"{term.formula} && ({number})" in loss) is bool(term.formula)
        assert f"<summary>({number}) " in detailed(name, [])
    assert loss.count("{") == loss.count("}")


def test_adversarial_methods_stand_beside_weight_0() -> None:
    rows = control_rows(METHODS["advent"])
    fog = next(row for row in rows if "fog" in row["Measured here, mIoU"])
    assert fog["Source-only"] < fog["Weight 0"] == pytest.approx(26.3, abs=0.1)
    assert 'href="https://github.com/wasidennis/AdaptSegNet/issues/25"' in detailed("advent", [])
    assert "Weight 0" not in detailed("daformer", [])


def test_rows_belong_to_the_method_and_its_variants() -> None:
    variants = {row.method for row in published_rows_of(METHODS["advent"])}
    assert "ADVENT AdvEnt+MinEnt" in variants
    assert all(row.method.startswith("ADVENT") for row in published_rows_of(METHODS["advent"]))
    assert {row.method for row in published_rows_of(METHODS["vfm_uda"])} == {"VFM-UDA"}  # not its successor, VFM-UDA++
    assert not published_rows_of(METHODS["adabn"])


def test_checkpoints_of_the_method_with_their_cards(tiny_checkpoints: Path) -> None:
    everyone = [Checkpoint.open(path) for path in sorted(tiny_checkpoints.iterdir())]
    shown = detailed("advent", everyone, cards="checkpoints?checkpoint=")
    assert '<a href="checkpoints?checkpoint=tiny_advent" target="_blank">ADVENT</a>' in shown
    assert "tiny_source_only" not in shown
    assert '<a href="checkpoints' not in detailed("advent", everyone)
    assert "No checkpoint of this method" in detailed("mic", everyone)


def test_the_paper_is_linked() -> None:
    assert 'href="https://arxiv.org/abs/2111.14887"' in introduced("daformer")


def test_an_entry_of_another_package_may_tell_less(monkeypatch: pytest.MonkeyPatch) -> None:
    class Options(MethodOptions):
        """None of its own."""

    entry = replace(
        METHODS["source_only"], name="theirs", idea="<b>Idea", explanation="", terms=(), paper="", options=Options
    )
    monkeypatch.setattr(method_explained, "METHODS", {"theirs": entry})
    shown = introduced("theirs") + detailed("theirs", [])
    assert "&lt;b&gt;Idea" in shown
    assert "What it compares" not in re.sub(r"<style>.*?</style>", "", shown, flags=re.DOTALL)
