from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim2street.app.content import gallery, streets
from sim2street.app.content.byte_cache import ByteCache
from sim2street.app.content.comparison import current_results, listed_checkpoints, preselected
from sim2street.app.content.engine import Engine, Settings
from sim2street.app.content.figures import encoder_of, trained_on
from sim2street.app.content.gallery import Scene
from sim2street.app.content.method_display import OTHER_COLOURS, display_of, display_of_title
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.photo import Photo
from sim2street.models.storage.catalog import SHIPPED
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from sim2street.training.methods import METHODS
from tests.app.conftest import TINY, save_tiny


def test_a_page_begins_with_what_was_adapted_to_its_kind_of_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, fog, real = (
        Checkpoint.open(save_tiny(tmp_path, name, method, name, target=target))
        for name, method, target in (
            ("plain", "source_only", None),
            ("fog", "advent", "street_scenes/fog"),
            ("real", "daformer", "camvid/train"),
        )
    )
    assert preselected([plain, fog, real], rendered=True) == [plain, fog]
    assert preselected([plain, fog, real], rendered=False) == [plain, real]
    assert preselected([plain, fog], rendered=False) == [plain, fog], "none is adapted to photos"
    assert preselected([], rendered=True) == []
    other = Checkpoint.open(save_tiny(tmp_path, "other", "source_only", "other", width=0.25))
    assert preselected([plain, other, fog], rendered=True) == [plain, other, fog], "one's own is always there"
    monkeypatch.setattr("sim2street.app.content.comparison.SHIPPED", tmp_path)
    assert preselected([plain, other, fog], rendered=True) == [plain, fog], (
        "another encoder's baseline tells nothing here"
    )
    longer = Checkpoint.open(save_tiny(tmp_path, "longer", "source_only", "longer", initialisation="plain"))
    assert preselected([plain, longer, fog], rendered=True) == [plain, fog], (
        "a control is there for those who ask for it"
    )


def test_of_the_included_checkpoints_with_one_encoder_a_page_begins_with_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Checkpoint.open(save_tiny(tmp_path, "plain", "source_only", "plain"))
    real, wide = (
        Checkpoint.open(save_tiny(tmp_path, name, "advent", name, target="camvid/train", width=width))
        for name, width in (("real", 0.125), ("wide", 0.25))
    )
    scores = {"low": 0.4, "high": 0.6, "unknown": None}
    first, best, unknown = (
        Checkpoint(
            real.path, real.config, {"camvid/val": {"miou": miou}, "street_scenes/fog": {"miou": 0.9 - (miou or 0)}}
        )
        for miou in scores.values()
    )
    everyone = [plain, unknown, first, best, wide]
    assert preselected(everyone, rendered=False) == everyone, "one's own are always there"
    monkeypatch.setattr("sim2street.app.content.comparison.SHIPPED", tmp_path)
    assert preselected(everyone, rendered=False) == [plain, best, wide]


def test_what_is_included_for_photos_is_few_and_has_what_is_compared() -> None:
    usable = [entry.checkpoint for entry in listed_checkpoints() if entry.checkpoint is not None]
    for rendered in (True, False):
        chosen = [each for each in preselected(usable, rendered=rendered) if each.path.parent == SHIPPED]
        assert len(chosen) <= 4
        for each in chosen:
            alike = [other for other in chosen if encoder_of(other.config) == encoder_of(each.config)]
            assert sorted(other.config.method == "source_only" for other in alike) == [False, True]


def test_checkpoints_are_listed_in_the_order_of_the_fields_years() -> None:
    trained = [entry.checkpoint.config.method for entry in listed_checkpoints() if entry.checkpoint]
    assert trained == sorted(trained, key=list(METHODS).index)
    assert trained[0] == "source_only"
    assert {"dann", "advent", "mic"} <= set(trained)


def test_a_method_keeps_its_colour_whatever_stands_beside_it(tmp_path: Path) -> None:
    scene = streets.rendered_scene("fog", 1)
    advent = Checkpoint.open(save_tiny(tmp_path, "mine", "advent", "Mine"))
    dann = Checkpoint.open(save_tiny(tmp_path, "other", "dann", "Other"))
    engine = Engine()
    colours = [
        current_results(engine, scene, [advent], everyone, Settings(), "me").bundle["waiting"][0]["colour"]
        for everyone in ([advent], [dann, advent])
    ]
    assert colours == [display_of("advent").colour] * 2


def test_no_two_methods_share_a_colour_and_none_has_a_classs() -> None:
    colours = [display_of(name).colour for name in METHODS] + list(OTHER_COLOURS)
    assert len(set(colours)) == len(colours)
    assert not set(colours) & {"#{:02x}{:02x}{:02x}".format(*colour) for colour in CITYSCAPES19.palette.tolist()}
    assert display_of("of_my_own") == display_of("of_my_own")
    assert display_of("of_my_own").title == "of_my_own"
    assert display_of_title("daformer") == display_of("daformer")
    assert display_of_title("ADVENT AdvEnt+MinEnt") == display_of("advent")
    assert display_of_title("MIC (HRDA)") == display_of("mic")
    assert display_of_title("VFM-UDA++").title == "VFM-UDA++"


def test_visitors_streets_are_painted_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    painting, most = [0], list[int]()
    paint = gallery.render

    def watched(*arguments: Any, **settings: Any) -> Any:
        painting[0] += 1
        time.sleep(0.02)
        most.append(painting[0])
        scene = paint(*arguments, **settings)
        painting[0] -= 1
        return scene

    monkeypatch.setattr(gallery, "render", watched)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda number: gallery.rendered_scene("fog", number).photo.digest, range(6)))
    assert set(most) == {1}
    assert together == [gallery.rendered_scene("fog", number).photo.digest for number in range(6)]


def test_a_street_that_many_ask_for_is_painted_once_and_a_bounded_number_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    painted = list[int]()

    def paint(style: str, street: int) -> Scene:
        painted.append(street)
        time.sleep(0.05)
        return Scene(Photo(np.zeros((8, 8, 3), np.uint8), style, str(street)))

    monkeypatch.setattr(gallery, "rendered_scene", paint)
    monkeypatch.setattr(streets, "_PAINTED", ByteCache[Scene](2 * 8 * 8 * 3))
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(lambda _: streets.rendered_scene("fog", 1), range(6)))) == 1
    assert painted == [1]
    for street in (2, 4, 1):
        streets.rendered_scene("fog", street)
    assert painted == [1, 2, 4, 1], "the first was dropped for the third"


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ("game", "game → fog"),
        ("streets + streets + randomised + night", "streets + randomised + night → fog"),
        ("streets + randomised + night + rain", "streets + 3 more → fog"),
    ],
)
def test_a_line_names_few_sources_and_counts_many(sources: str, said: str) -> None:
    looks = " + ".join(f"street_scenes/{look}" for look in sources.split(" + "))
    config = CheckpointConfig(
        title="Title",
        method="advent",
        network="deeplab_v2",
        network_options=TINY,
        source=looks,
        target="street_scenes/fog",
    )
    assert trained_on(config) == said
