"""The Compare page without a browser: what a visitor meets, and every way in which input can be wrong."""

from __future__ import annotations

import gc
import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.runtime.scriptrunner import StopException
from streamlit.testing.v1 import AppTest

import sim2street.models.storage.catalog
from sim2street.app.content import adapting, example_photos
from sim2street.app.content.engine import ENGINE, Failure, predict_pane
from sim2street.app.content.first_street import FIRST_STREET
from sim2street.app.content.panes import Pane
from sim2street.models.errors import ConfigError
from sim2street.models.labels import CAMVID11
from sim2street.models.numbering import CAMVID_CLASSES, LABEL_IDS
from sim2street.models.storage.checkpoint import Checkpoint
from tests.app.conftest import offer_of, save_tiny_pair, serving
from tests.app.content.test_clip import film

ENTRY = Path(__file__).parents[3] / "app" / "main.py"


@pytest.fixture(autouse=True)
def _only_tiny_checkpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path) -> None:
    monkeypatch.setattr(sim2street.models.storage.catalog, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tiny_checkpoints))
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    for variable in ("SIM2STREET_CAMVID", "SIM2STREET_CITYSCAPES"):
        monkeypatch.delenv(variable, raising=False)
    st.cache_resource.clear()


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_file(str(ENTRY), default_timeout=120).run()


def carried_to(page: AppTest) -> list[dict]:
    """What the viewer on the page was sent in the last run, element by element."""
    carriers = [item.proto for item in page.get("bidi_component") if item.proto.component_name == "sim2street_carrier"]
    return [json.loads(each.json)[0] for each in carriers]


def bundle_of(page: AppTest) -> dict:
    """What the viewer on the page shows: its newest state with the images that it names."""
    carried = carried_to(page)
    (bundle,) = (each["bundle"] for each in carried if "bundle" in each)
    images = {each["digest"]: each["images"] for each in carried if "images" in each}
    parts = [bundle["photo"], *bundle["methods"], *([bundle["truth"]] if bundle["truth"] else [])]
    for part in parts:
        part |= images[part.pop("images")]
    return bundle


def strip_of(page: AppTest) -> dict:
    """The filmstrip that the page shows."""
    strips = [item.proto for item in page.get("bidi_component") if item.proto.component_name == "sim2street_strip"]
    return json.loads(strips[0].json)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def upload(page: AppTest, data: bytes, name: str = "street.png") -> AppTest:
    page.button_group(key="photo").set_value("Your photo").run()
    return page.file_uploader(key="own_upload_0").upload(name, data, "image/png").run()


@pytest.fixture
def street() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (96, 160, 3), np.uint8)


def test_the_first_load_shows_a_comparison(page: AppTest) -> None:
    assert not page.exception
    assert not page.error
    bundle = bundle_of(page)
    assert [method["title"] for method in bundle["methods"]] == ["Source only", "ADVENT"]
    assert bundle["truth"] is not None
    assert not bundle["waiting"]
    assert bundle["disagreement"]
    assert page.dataframe[0].value["Mean IoU, this image"].notna().all()
    assert "not a data set's mIoU" in " ".join(caption.value for caption in page.caption)


def test_another_style_shows_the_same_street_in_it(page: AppTest) -> None:
    before = bundle_of(page)
    page.session_state["style"] = "night"
    after = bundle_of(page.run())
    assert "night" in after["photo"]["name"]
    assert after["photo"]["digest"] != before["photo"]["digest"]
    assert after["truth"] == before["truth"]
    assert len(after["methods"]) == 2


def test_another_street_changes_photo_and_truth(page: AppTest) -> None:
    before = bundle_of(page)
    next(button for button in page.button if button.label == "Another street").click().run()
    assert not page.exception
    assert bundle_of(page)["truth"] != before["truth"]


def test_leaving_out_a_method_takes_its_pane_and_its_colour_stays(page: AppTest) -> None:
    colour = bundle_of(page)["methods"][1]["colour"]
    page.button_group(key="methods").set_value(["tiny_advent"]).run()
    bundle = bundle_of(page)
    assert [(method["key"], method["colour"]) for method in bundle["methods"]] == [("tiny_advent", colour)]
    assert bundle["disagreement"] is None
    page.button_group(key="methods").set_value([]).run()
    assert bundle_of(page)["methods"] == []
    assert not page.exception


def test_settings_read_again(page: AppTest) -> None:
    before = bundle_of(page)["methods"][0]["meanEntropy"]
    page.toggle(key="flip").set_value(True).run()
    assert not page.exception
    assert bundle_of(page)["methods"][0]["meanEntropy"] != before


def test_an_uploaded_photo_is_read_without_ground_truth(page: AppTest, street: np.ndarray) -> None:
    upload(page, png(street))
    bundle = bundle_of(page)
    assert (bundle["width"], bundle["height"], bundle["truth"]) == (160, 96, None)
    assert len(bundle["methods"]) == 2
    assert "never written to disk" in " ".join(caption.value for caption in page.caption)
    assert "Mean IoU, this image" not in page.dataframe[0].value


def test_a_large_upload_is_limited_and_says_so(page: AppTest) -> None:
    upload(page, png(np.zeros((900, 1600, 3), np.uint8)))
    assert bundle_of(page)["width"] == 1024
    assert "instead of 1600×900 pixels" in " ".join(caption.value for caption in page.caption)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"no picture at all", "not a picture"),
        (png(np.zeros((4, 4, 3), np.uint8)), "at least 16"),
        (png(np.random.default_rng(2).integers(0, 255, (64, 64, 3), np.uint8))[:3000], "truncated"),
    ],
    ids=["empty", "text", "tiny", "truncated"],
)
def test_a_bad_upload_gives_a_sentence_and_the_page_goes_on(
    page: AppTest, street: np.ndarray, data: bytes, reason: str
) -> None:
    upload(page, data)
    assert not page.exception
    assert reason in page.error[0].value
    assert "Drop or paste" in page.file_uploader(key="own_upload_0").label
    page.file_uploader(key="own_upload_0").set_value(
        [("bad.png", data, "image/png"), ("street.png", png(street), "image/png")]
    ).run()
    assert len(page.error) == 1
    assert bundle_of(page)["photo"]["name"] == "street.png"
    assert len(bundle_of(page)["methods"]) == 2


def test_several_photos_stand_in_a_filmstrip_and_the_newest_is_shown(page: AppTest, street: np.ndarray) -> None:
    upload(page, png(street), "a.png")
    files = [(f"{name}.png", png(np.roll(street, i)), "image/png") for i, name in enumerate("abc")]
    page.file_uploader(key="own_upload_0").set_value(files).run()
    strip = strip_of(page)
    assert [item["label"] for item in strip["items"]][-3:] == ["a.png", "b.png", "c.png"]
    assert bundle_of(page)["photo"]["name"] in ("a.png", "b.png")
    page.session_state["own_chosen"] = strip["items"][-1]["key"]
    page.run()
    assert bundle_of(page)["photo"]["name"] == "c.png"


def test_one_broken_photo_of_twenty_says_so_and_the_others_are_shown(page: AppTest, street: np.ndarray) -> None:
    files = [(f"photo{i}.png", png(np.roll(street, i)), "image/png") for i in range(20)]
    files[7] = ("photo7.png", files[7][1][:2000], "image/png")
    page.button_group(key="photo").set_value("Your photo").run()
    page.file_uploader(key="own_upload_0").set_value(files).run()
    assert not page.exception
    assert ["photo7.png" in error.value and "truncated" in error.value for error in page.error] == [True]
    assert [item["label"] for item in strip_of(page)["items"]] == [f"photo{i}.png" for i in range(20) if i != 7]
    assert bundle_of(page)["photo"]["name"] == "photo0.png"
    assert len(bundle_of(page)["methods"]) == 2


def test_a_photo_can_be_taken_away_and_what_was_said_of_a_broken_one_dismissed(
    page: AppTest, street: np.ndarray
) -> None:
    page.button_group(key="photo").set_value("Your photo").run()
    files = [(f"{name}.png", png(np.roll(street, i)), "image/png") for i, name in enumerate("ab")]
    page.file_uploader(key="own_upload_0").set_value([*files, ("broken.png", b"no picture", "image/png")]).run()
    first, second = strip_of(page)["items"]
    assert len(page.error) == 1
    page.button(key="dismiss_broken").click().run()
    assert not page.error
    page.session_state["own_removed"] = {*page.session_state["own_removed"], first["key"]}
    page.run()
    assert [item["key"] for item in strip_of(page)["items"]] == [second["key"]]
    assert bundle_of(page)["photo"]["name"] == "b.png"


def test_files_of_which_none_is_left_are_no_longer_listed(page: AppTest) -> None:
    page.button_group(key="photo").set_value("Your photo").run()
    upload(page, b"no picture", name="broken.png")
    page.button(key="dismiss_broken").click().run()
    assert not page.exception
    assert [each.key for each in page.file_uploader] == ["own_upload_1"]
    assert not page.file_uploader[0].value


def test_an_offer_that_cannot_be_fetched_says_so_and_can_be_tried_again(
    page: AppTest, monkeypatch: pytest.MonkeyPatch, street: np.ndarray
) -> None:
    nobody = "http://127.0.0.1:9"  # the port of `discard`, at which nothing listens
    monkeypatch.setattr(example_photos, "offer", lambda: offer_of(nobody, {"a.png": b"a", "b.png": b"b"}))
    page.button_group(key="photo").set_value("Your photo").run()
    page.button(key="offer").click().run()
    assert not page.exception
    (said,) = (error.value for error in page.error)
    assert said.count("Nothing can be fetched from 127.0.0.1 at present") == 1
    assert "\n" not in said
    assert page.button(key="offer")
    page.file_uploader(key="own_upload_0").upload("street.png", png(street), "image/png").run()
    assert len(bundle_of(page)["methods"]) == 2


def test_offered_photos_are_fetched_checked_and_kept(
    page: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, street: np.ndarray
) -> None:
    good, other = png(street), png(street[::-1])
    with serving(tmp_path, {"good.png": good, "other.png": other}) as address:
        pinned = dict.fromkeys(("good.png", "other.png", "gone.png"), good)
        monkeypatch.setattr(example_photos, "offer", lambda: offer_of(address, pinned))
        page.button_group(key="photo").set_value("Your photo").run()
        assert any("maker/set" in each.value and "licence MIT" in each.value for each in page.markdown)
        page.button(key="offer").click().run()
        said = " ".join(error.value for error in page.error)
        assert "other.png is not the pinned file" in said
        assert "the server answered 404" in said
        assert bundle_of(page)["photo"]["name"] == "good.png"
        assert [item["label"] for item in strip_of(page)["items"]] == ["good.png"]
    page.run()  # the server is gone, the photo stays, and what failed can be tried again
    assert bundle_of(page)["photo"]["name"] == "good.png"
    assert page.button(key="offer").label == "Add 2 real photos"
    page.button(key="dismiss_broken").click().run()
    assert not page.error


def test_a_click_while_offered_photos_are_fetched_does_not_end_the_fetch(
    page: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, street: np.ndarray
) -> None:
    fetch = example_photos.fetch_offer

    def cut_off() -> Iterator[str]:
        yield next(fetch())
        raise StopException  # as Streamlit ends a run when something else is clicked

    photos = {"one.png": png(street), "two.png": png(street[::-1])}
    with serving(tmp_path, photos) as address:
        monkeypatch.setattr(example_photos, "offer", lambda: offer_of(address, photos))
        page.button_group(key="photo").set_value("Your photo").run()
        monkeypatch.setattr(example_photos, "fetch_offer", cut_off)
        page.button(key="offer").click().run()
        monkeypatch.setattr(example_photos, "fetch_offer", fetch)
        page.run()
        assert [item["label"] for item in strip_of(page)["items"]] == list(photos)


def test_ground_truth_of_an_upload_is_scored(page: AppTest, street: np.ndarray) -> None:
    upload(page, png(street))
    truth = np.full((96, 160), CAMVID11.count, np.uint8)
    truth[50:] = CAMVID11.names.index("road")
    page.file_uploader(key="upload_labels").upload("truth.png", png(truth), "image/png").run()
    assert any("truth.png looks like camvid classes" in caption.value.lower() for caption in page.caption)
    next(button for button in page.button if button.label == "Read it as CamVid classes (0–10)").click().run()
    assert (
        next(box for box in page.selectbox if box.label == "Numbering of its classes").value == "CamVid classes (0–10)"
    )
    assert not page.error
    assert not any("looks like" in caption.value for caption in page.caption)
    bundle = bundle_of(page)
    assert bundle["space"] == "camvid11"
    assert len(bundle["methods"][0]["iou"]) == 11


def test_ground_truth_without_a_known_class_can_be_read_in_another_numbering(page: AppTest, street: np.ndarray) -> None:
    upload(page, png(street))
    truth = png(np.full((96, 160), 3, np.uint8))
    page.file_uploader(key="upload_labels").upload("truth.png", truth, "image/png").run()
    next(box for box in page.selectbox if box.label == "Numbering of its classes").set_value(LABEL_IDS.title).run()
    assert "No pixel of truth.png has a class" in page.error[0].value
    next(button for button in page.button if button.label == f"Read it as {CAMVID_CLASSES.title}").click().run()
    assert not page.error
    assert bundle_of(page)["space"] == "camvid11"


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        (np.zeros((50, 160), np.uint8), "measures 160×50 pixels and its photo 160×96"),
        (np.full((96, 160), 77, np.uint8), "values 77"),
        (np.zeros((96, 160, 3), np.uint8), "colour picture"),
        (np.full((96, 160), 255, np.uint8), "No pixel"),
    ],
    ids=["size", "values", "colours", "nothing"],
)
def test_unfit_ground_truth_gives_a_sentence_and_the_photo_stays(
    page: AppTest, street: np.ndarray, truth: np.ndarray, reason: str
) -> None:
    upload(page, png(street))
    page.file_uploader(key="upload_labels").upload("truth.png", png(truth), "image/png").run()
    assert not page.exception
    assert reason in page.error[0].value
    bundle = bundle_of(page)
    assert bundle["truth"] is None
    assert len(bundle["methods"]) == 2


def test_with_no_method_chosen_the_page_says_what_to_do(page: AppTest) -> None:
    page.pills(key="methods").set_value([]).run()
    assert not page.exception
    assert "Choose a method" in page.info[0].value


def test_differences_to_source_only_stand_in_the_table_on_request(page: AppTest) -> None:
    assert list(page.dataframe[1].value.columns) == ["Class", "Source only", "ADVENT"]
    page.toggle(key="gains").set_value(True).run()
    assert list(page.dataframe[1].value.columns) == ["Class", "ADVENT"]
    methods = {method["title"]: method for method in bundle_of(page)["methods"]}
    assert methods["ADVENT"]["baseline"] == methods["Source only"]["key"]
    assert methods["Source only"]["baseline"] is None


def test_without_any_checkpoint_the_page_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tmp_path))
    page = AppTest.from_file(str(ENTRY), default_timeout=120).run()
    assert not page.exception
    assert "No checkpoint was found" in page.info[0].value
    assert bundle_of(page)["methods"] == []


def test_a_broken_checkpoint_is_listed_while_the_others_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_tiny_pair(tmp_path)
    (tmp_path / "tiny_advent" / "model.safetensors").write_bytes(b"cut")
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tmp_path))
    page = AppTest.from_file(str(ENTRY), default_timeout=120).run()
    assert not page.exception
    assert [method["key"] for method in bundle_of(page)["methods"]] == ["tiny_source_only"]
    assert any("damaged or was replaced" in text.value for text in page.markdown)


def test_a_checkpoint_that_fails_while_reading_leaves_a_pane_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save_tiny_pair(tmp_path)
    config = json.loads((tmp_path / "tiny_advent" / "config.json").read_text())
    config["network_options"]["backbone"] = "resnet34"  # the weights are a ResNet-18's
    (tmp_path / "tiny_advent" / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tmp_path))
    page = AppTest.from_file(str(ENTRY), default_timeout=120).run()
    assert not page.exception
    bundle = bundle_of(page)
    assert [method["key"] for method in bundle["methods"]] == ["tiny_source_only"]
    assert "does not fit deeplab_v2" in bundle["failed"][0]["reason"]


def test_a_checkpoint_that_is_deleted_meanwhile_leaves_a_pane_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save_tiny_pair(tmp_path)

    def deleting(checkpoint: Checkpoint, *rest: Any) -> Pane:
        shutil.rmtree(tmp_path / "tiny_advent", ignore_errors=True)
        return predict_pane(checkpoint, *rest)

    monkeypatch.setattr(ENGINE, "predict", deleting)
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tmp_path))
    page = AppTest.from_file(str(ENTRY), default_timeout=120).run()
    assert not page.exception
    bundle = bundle_of(page)
    assert [method["key"] for method in bundle["methods"]] == ["tiny_source_only"]
    (failed,) = bundle["failed"]
    assert failed["title"] == "ADVENT"
    assert "model.safetensors" in failed["reason"]
    assert page.dataframe[0].value["Method"].tolist() == ["Source only"]


def test_a_reading_that_is_stopped_shows_what_was_read_and_goes_on(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(checkpoint: Checkpoint, *rest: Any) -> Pane:
        if checkpoint.name == "tiny_advent":
            st.stop()  # a click while this method reads ends the run
        return predict_pane(checkpoint, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(ENGINE, "predict", cut_off)
        page.number_input(key="street").set_value(77).run()  # that no other test has read
        assert [method["title"] for method in bundle_of(page)["waiting"]] == ["ADVENT"]
        page.button(key="stop_reading").click().run()
    bundle = bundle_of(page)
    assert [method["key"] for method in bundle["methods"]] == ["tiny_source_only"]
    assert not bundle["waiting"]
    assert "Stopped; 1 method has not predicted this photo." in [text.value for text in page.markdown]
    assert page.dataframe[0].value["Method"].tolist() == ["Source only"]
    page.button(key="go_on").click().run()
    assert not page.exception
    assert len(bundle_of(page)["methods"]) == 2
    assert not {"stop_reading", "go_on"} & {button.key for button in page.button}


def test_nothing_can_be_stopped_once_all_methods_have_failed(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ENGINE, "predict", lambda *_: Failure("It is broken."))
    page.number_input(key="street").set_value(78).run()
    assert [each["reason"] for each in bundle_of(page)["failed"]] == ["It is broken."] * 2
    assert "stop_reading" not in {button.key for button in page.button}


def test_a_data_set_folder_that_is_wrong_gives_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIM2STREET_CAMVID", str(tmp_path))
    page = AppTest.from_file(str(ENTRY), default_timeout=120).run()
    page.button_group(key="photo").set_value("CamVid").run()
    assert not page.exception
    assert "camvid" in page.error[0].value
    page.button_group(key="photo").set_value("Rendered streets").run()
    assert not page.error
    assert len(bundle_of(page)["methods"]) == 2


def test_photos_of_a_data_set_come_with_their_ground_truth(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, street: np.ndarray
) -> None:
    lines = []
    for name in ("a", "b"):
        for folder in ("val", "valannot"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "val" / f"{name}.png").write_bytes(png(street))
        (tmp_path / "valannot" / f"{name}.png").write_bytes(png(np.full((96, 160), 3, np.uint8)))
        lines.append(f"val/{name}.png valannot/{name}.png")
    (tmp_path / "val.txt").write_text("\n".join(lines))
    monkeypatch.setenv("SIM2STREET_CAMVID", str(tmp_path))
    page = AppTest.from_file(str(ENTRY), default_timeout=120).run()
    page.button_group(key="photo").set_value("CamVid").run()
    assert bundle_of(page)["photo"]["name"] == "CamVid, a"
    page.selectbox(key="camvid_val_photo").set_value(1).run()
    bundle = bundle_of(page)
    assert bundle["photo"]["name"] == "CamVid, b"
    assert [entry["name"] for entry in bundle["classes"]] == list(CAMVID11.names)
    assert all(method["meanIou"] is not None for method in bundle["methods"])


def test_own_photos_are_kept_for_the_visitor_and_go_with_the_session(page: AppTest, street: np.ndarray) -> None:
    shared = len(ENGINE.shared)
    upload(page, png(street))
    assert len(ENGINE.shared) == shared
    visitor = page.session_state["visit"].name

    def kept() -> int:
        return sum(key[0] == visitor for key in ENGINE.private._items)

    assert kept() == 2
    del page.session_state["visit"]
    gc.collect()
    deadline = time.monotonic() + 60
    while kept() and time.monotonic() < deadline:  # another thread forgets who has gone
        time.sleep(0.01)
    assert kept() == 0


def test_an_address_that_names_what_is_gone_says_so_once(tiny_checkpoints: Path) -> None:
    page = AppTest.from_file(str(ENTRY), default_timeout=120)
    page.query_params.update({"methods": ["ADVENT", "Gone"], "style": "sepia"})
    page.run()
    assert not page.exception
    assert page.session_state["told"] == {("methods", "Gone"), ("style", "sepia")}
    assert bundle_of(page)["methods"]


@pytest.mark.parametrize("street", ["1e999", "-1e999", "nan", "-5", "9" * 400, "abc", "10000", "٣", ""])
def test_an_address_with_an_odd_street_shows_the_first_one(tiny_checkpoints: Path, street: str) -> None:
    page = AppTest.from_file(str(ENTRY), default_timeout=120)
    page.query_params["street"] = street
    page.run()
    assert not page.exception
    assert page.number_input(key="street").value == FIRST_STREET
    assert ["whole number from 0" in said.value for said in page.toast] == [True]
    page.number_input(key="street").set_value(5).run()
    assert not page.exception
    assert page.number_input(key="street").value == 5


def test_the_sentence_that_answers_stands_in_the_bundle(page: AppTest) -> None:
    assert "mean IoU" in bundle_of(page)["answer"]
    assert "The two methods" in bundle_of(page)["answer"]


def adapted(page: AppTest) -> AppTest:
    """Press Adapt and wait until it is done."""
    page.button(key="adapt").click().run()
    for _ in range(100):
        if not any(each.task.under_way for each in page.session_state["adaptations"].values()):
            break
        time.sleep(0.1)
    return page.run()


def test_a_method_is_adapted_to_the_uploaded_photos_and_undone(page: AppTest, street: np.ndarray) -> None:
    assert not [button for button in page.button if button.key == "adapt"], "rendered streets are nobody's photos"
    upload(page, png(street))
    before = bundle_of(page)["methods"]
    page.selectbox(key="adapt_from").set_value("tiny_source_only")
    adapted(page)
    assert not page.exception
    assert not page.error
    methods = {method["key"]: method for method in bundle_of(page)["methods"]}
    assert list(methods) == ["tiny_source_only", "tiny_source_only_tent", "tiny_advent"]
    assert methods["tiny_source_only_tent"]["title"] == "Source only, TENT on 1 photo"
    said = " ".join(caption.value for caption in page.caption)
    assert "Mean entropy" in said
    assert "of the pixels changed class" in said

    page.button(key="undo_tiny_source_only_tent").click().run()
    assert [method["key"] for method in bundle_of(page)["methods"]] == [method["key"] for method in before]
    assert not [button for button in page.button if button.key.startswith("undo_")]


def test_an_adaptation_that_fails_says_why(page: AppTest, street: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConfigError("A batch norm is odd.")

    monkeypatch.setattr(adapting, "adapt", fail)
    upload(page, png(street))
    adapted(page)
    page.run()  # whatever draws the page again
    assert [error.value for error in page.error] == ["A batch norm is odd."]
    next(button for button in page.button if str(button.key).startswith("dismiss_")).click().run()
    assert not page.error
    assert [method["key"] for method in bundle_of(page)["methods"]] == ["tiny_source_only", "tiny_advent"]


def test_a_slider_moves_through_a_clip_and_each_frame_is_predicted_once(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def predict(*given: Any) -> Pane:
        read.append(given[1].name)
        return predict_pane(*given)

    monkeypatch.setattr(ENGINE, "predict", predict)
    page.button_group(key="photo").set_value("Your clip").run()
    assert "up to 30 seconds" in page.file_uploader(key="clip").label
    page.file_uploader(key="clip").upload("drive.mp4", film(25), "video/mp4").run()
    assert not page.exception
    assert bundle_of(page)["photo"]["name"] == "drive.mp4 at 0.0 s"
    (slider,) = page.select_slider
    slider.set_value(3).run()
    assert bundle_of(page)["photo"]["name"] == "drive.mp4 at 1.5 s"
    before = list(read)
    assert set(before) == {"drive.mp4 at 0.0 s", "drive.mp4 at 1.5 s"}
    page.select_slider[0].set_value(0).run()
    assert bundle_of(page)["photo"]["name"] == "drive.mp4 at 0.0 s"
    assert read == before, "moving back reads nothing again"
    page.file_uploader(key="clip").upload("broken.mp4", b"x" * 100, "video/mp4").run()
    assert not page.exception
    assert "cannot be opened as a video" in page.error[0].value
