"""The Gradio page through gradio_client: its endpoints, its limits, and what it leaves behind."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import numpy as np
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from sim2street.app import demo as demos
from sim2street.app.content import example_photos, labelled_sets
from sim2street.app.content.background import BACKGROUND, BusyError, Task, TaskState
from sim2street.app.content.decode_workers import WORKERS
from sim2street.app.content.engine import Engine, Failure, Settings, predict_pane
from sim2street.app.content.error_analysis import ORDERS
from sim2street.app.content.gallery import OWN, RENDERED
from sim2street.app.demo_page import benchmark_tab, compare_tab, demo_api, uploads
from sim2street.app.demo_page.compare_tab import Choice, CompareTab
from sim2street.app.demo_page.failures_tab import FIRST_SET, NO_COMPARISON, FailuresTab
from sim2street.app.demo_page.gap_tab import GapTab
from sim2street.app.demo_page.open_compare import with_checkpoint
from sim2street.app.demo_page.set_tab import SetTab
from sim2street.models.errors import CheckpointError, PhotoError
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.downloads import Download
from tests.app.conftest import offer_of, save_tiny, serving
from tests.models.test_file_limits import SIDE, tiff

GPS = 0x8825


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gradio")


@pytest.fixture(scope="module")
def url(engine: Engine, temporary: Path, tiny_checkpoints: Path) -> Iterator[str]:
    names = ("tiny_source_only", "tiny_advent")
    entries = [CatalogEntry(name, Checkpoint.open(tiny_checkpoints / name)) for name in names]
    entries.append(CatalogEntry("broken", None, "It is damaged."))
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(temporary)
    page = demos.build_demo(engine, lambda: entries)
    options = {**demos.launch_options(), "max_file_size": "5mb", "mcp_server": False}
    _, address, _ = page.launch(**options, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield address
    page.close()
    if before is None:
        del os.environ["GRADIO_TEMP_DIR"]
    else:
        os.environ["GRADIO_TEMP_DIR"] = before


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False, analytics_enabled=False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A JPEG that says where it was taken."""
    path = tmp_path / "street.jpg"
    exif = Image.Exif()
    exif[0x010F] = "SECRETCAM"
    exif.get_ifd(GPS)[1] = "N"
    exif.get_ifd(GPS)[29] = "2026:11:23"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    assert b"SECRETCAM" in path.read_bytes()
    return path


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 0]


def test_methods_are_listed(client: Client) -> None:
    listed = client.predict(api_name="/methods")
    assert [(entry["name"], entry["title"]) for entry in listed] == [
        ("tiny_source_only", "Source only"),
        ("tiny_advent", "ADVENT"),
    ]


def test_a_rendered_street_is_scored(client: Client) -> None:
    answer = client.predict("fog", 5, ["tiny_advent"], api_name="/segment_street")
    assert list(answer["methods"]) == ["tiny_advent"]
    method = answer["methods"]["tiny_advent"]
    assert 0 <= method["mean_iou"] <= 1
    assert sum(method["shares"].values()) == pytest.approx(1)
    labels = Image.open(io.BytesIO(base64.b64decode(method["labels_png"])))
    assert labels.size == (answer["width"], answer["height"]) == (512, 256)
    assert labels.mode == "P"


def test_a_photo_is_segmented_and_nothing_of_it_stays(
    client: Client, engine: Engine, photo: Path, temporary: Path
) -> None:
    answer = client.predict(handle_file(str(photo)), [], False, api_name="/segment")
    assert set(answer["methods"]) == {"tiny_source_only", "tiny_advent"}
    assert (answer["width"], answer["height"]) == (96, 64)
    assert "mean_iou" not in answer["methods"]["tiny_advent"]
    for method in answer["methods"].values():
        data = base64.b64decode(method["labels_png"])
        assert b"SECRETCAM" not in data
        assert not Image.open(io.BytesIO(data)).getexif()
    assert files_in(temporary) == []
    assert len(engine.private) == 0


@pytest.mark.parametrize(
    ("arguments", "endpoint", "reason"),
    [
        (("neon", 5, []), "/segment_street", "no style 'neon'"),
        (("fog", -1, []), "/segment_street", "from 0 to 9999"),
        (("fog", 5, ["nothing"]), "/segment_street", "no method 'nothing'"),
        ((None, [], False), "/segment", "call has no photo"),
    ],
)
def test_a_wrong_call_gets_a_sentence(client: Client, arguments: tuple[Any, ...], endpoint: str, reason: str) -> None:
    with pytest.raises(AppError, match=reason):
        client.predict(*arguments, api_name=endpoint)


def test_a_file_that_is_no_photo_gets_a_sentence_and_is_deleted(
    client: Client, tmp_path: Path, temporary: Path
) -> None:
    path = tmp_path / "street.png"
    path.write_bytes(b"no picture")
    with pytest.raises(AppError, match="not a picture"):
        client.predict(handle_file(str(path)), [], False, api_name="/segment")
    assert files_in(temporary) == []


def test_an_upload_outlasts_the_queue_and_not_the_promise(tmp_path: Path) -> None:
    assert uploads.LEFTOVERS >= 600, "calls that wait for their turn keep their photo"
    assert uploads.SWEEP_SECONDS + uploads.LEFTOVERS <= 15 * 60
    assert "quarter of an hour" in uploads.PROMISE
    with pytest.raises(PhotoError, match=r"street.png waited too long .* upload it again"):
        uploads.take(None, str(tmp_path / "street.png"), None, "")


def test_whatever_is_wrong_with_an_upload_all_its_files_are_deleted(tmp_path: Path) -> None:
    photo, truth = tmp_path / "street.png", tmp_path / "truth.png"
    with photo.open("wb") as file:
        file.truncate(uploads.MAX_MEGABYTES * 2**20 + 1)
    truth.write_bytes(b"never looked at")
    with pytest.raises(PhotoError, match="larger than the limit of 20 MB"):
        uploads.take(None, str(photo), str(truth), "")
    assert list(tmp_path.iterdir()) == []


def test_too_large_a_file_is_refused(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "street.png"
    path.write_bytes(bytes(6_000_000))
    with pytest.raises(ValueError, match="exceeds the maximum file size"):
        client.predict(handle_file(str(path)), [], False, api_name="/segment")


@pytest.mark.slow
def test_pictures_of_very_many_pages_do_not_hold_up_another_visitor(
    url: str, client: Client, photo: Path, tmp_path: Path
) -> None:
    """Four TIFFs of 35,000 pages at once; processor time, because the clock of a busy machine says little."""
    server = psutil.Process()

    def seconds() -> float:
        return sum(sum(each.cpu_times()[:2]) for each in (server, *server.children(recursive=True)))

    def segment(path: Path) -> tuple[int, int]:
        answer = client.predict(handle_file(path), ["tiny_advent"], False, api_name="/segment")
        return answer["width"], answer["height"]

    pages = [tmp_path / f"{number}.tif" for number in range(4)]
    for path in pages:
        path.write_bytes(tiff(35_000))
        assert path.stat().st_size > 3_900_000
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(segment, [photo] * WORKERS))  # the workers have started
        before = seconds()
        asked = [pool.submit(segment, path) for path in pages]
        assert segment(photo) == (96, 64)
        assert {answer.result(60) for answer in asked} == {(SIDE, SIDE)}
    assert seconds() - before < 5


def test_too_many_calls_are_refused_with_the_time_to_wait(
    url: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def check(self, client: str) -> None:
            raise demo_api.Sim2StreetError("Try again in 7 s")

    monkeypatch.setattr(demo_api.RateLimit, "check", Full.check)
    with pytest.raises(AppError, match="Try again in 7 s"):
        client.predict("fog", 5, [], api_name="/segment_street")


def test_only_the_typed_endpoints_are_public(client: Client) -> None:
    described = client.view_api(return_format="dict", print_info=False)
    assert isinstance(described, dict)
    assert set(described["named_endpoints"]) == {"/segment", "/segment_street", "/methods"}
    parameters = described["named_endpoints"]["/segment_street"]["parameters"]
    assert [parameter["parameter_name"] for parameter in parameters] == ["style", "street", "methods"]


def test_the_page_promises_what_the_tests_hold(url: str) -> None:
    config = json.dumps(demos.build_demo(Engine(), list).get_config_file(), default=str)
    assert "photo is not kept" in uploads.PROMISE
    assert "photo is not kept" in config


def test_downloads_hold_no_metadata(engine: Engine, photo: Path, tiny_checkpoints: Path) -> None:
    entries = [CatalogEntry("tiny_advent", Checkpoint.open(tiny_checkpoints / "tiny_advent"))]
    tab = CompareTab(engine, lambda: entries)
    own = uploads.take(None, str(photo), None, "")
    assert own is not None
    assert not photo.exists()
    engine.keep("anna", own)
    try:
        request: Any = SimpleNamespace(session_hash="anna", headers={}, client=None)
        state = tab._finished(Choice(OWN, "fog", 3, ["tiny_advent"], []), request)
        controls = (OWN, "fog", 3, ["tiny_advent"], [])
        for make in (tab.make_report, tab.make_archive):
            data = base64.b64decode(json.loads(make(request, *controls))["data"])
            assert b"SECRETCAM" not in data
            assert b"Exif" not in data
        shown = Image.open(io.BytesIO(base64.b64decode(state.bundle["photo"]["image"])))
        assert not shown.getexif()
    finally:
        engine.forget("anna")


class TestOwnPhotos:
    """Several photos of a visitor: the filmstrip, adapting to them, and their probabilities."""

    request: Any = SimpleNamespace(session_hash="carl", headers={}, client=None)

    @pytest.fixture
    def tab(self, tiny_checkpoints: Path) -> CompareTab:
        engine = Engine()
        return CompareTab(engine, lambda: entries_of(tiny_checkpoints, "tiny_source_only", "tiny_advent"))

    @pytest.fixture
    def paths(self, tmp_path: Path) -> list[str]:
        noise = np.random.default_rng(5)
        paths = [tmp_path / f"{name}.png" for name in ("one", "two", "three")]
        for path in paths:
            Image.fromarray(noise.integers(0, 255, (64, 96, 3), np.uint8)).save(path)
        return [str(path) for path in paths]

    def names(self, tab: CompareTab) -> list[str]:
        return [item["label"] for item in tab.own.filmstrip("carl")[0]["value"]["items"]]

    def test_a_broken_photo_is_named_and_the_others_are_shown(self, tab: CompareTab, paths: list[str]) -> None:
        broken = Path(paths[0]).with_name("broken.jpg")
        broken.write_bytes(b"nothing")
        taken = tab.own.take_photo([paths[0], str(broken), paths[1]], None, "", self.request)
        arrived, film, picked, _, note = taken[2:7]
        assert arrived > 0
        assert film["value"]["chosen"] == picked
        assert self.names(tab) == ["one.png", "two.png"]
        assert film["value"]["chosen"] == film["value"]["items"][1]["key"]
        assert "broken.jpg" in note
        assert not broken.exists()

    def test_photos_are_chosen_removed_and_never_too_many(
        self, tab: CompareTab, paths: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uploads, "MOST_PHOTOS", 2)
        note = tab.own.take_photo(paths, None, "", self.request)[6]
        assert "three.png was left out" in note
        assert not Path(paths[2]).exists()
        first, second = (item["key"] for item in tab.own.filmstrip("carl")[0]["value"]["items"])
        film, arrived, about, *_ = tab.own.choose_own(first, self.request)
        assert film["value"]["chosen"] == first
        assert "one.png" in about, "the note is on the photo that is shown"
        assert tab.own.choose_own(second, self.request)[1] > arrived
        tab.own.choose_own(first, self.request)
        own = tab.engine.kept("carl")
        assert own is not None
        assert own.name == "one.png"
        *_, about = tab.own.remove_own(self.request, SimpleNamespace(_data={"key": first}))[:5]  # pyright: ignore[reportArgumentType]
        assert self.names(tab) == ["two.png"]
        assert "two.png" in about
        tab.own.remove_own(self.request, SimpleNamespace(_data={"key": second}))  # pyright: ignore[reportArgumentType]
        assert tab.engine.kept("carl") is None
        assert len(tab.engine.private) == 0

    def test_photos_on_offer_stand_behind_ones_own_and_take_no_place_of_theirs(
        self, tab: CompareTab, paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(uploads, "MOST_PHOTOS", 2)
        real = {path: Path(path).read_bytes() for path in paths}
        pinned = {"ours.png": real[paths[0]], "other.png": real[paths[1]], "third.png": real[paths[2]]}
        with serving(tmp_path, {**pinned, "other.png": b"something else"}) as address:
            monkeypatch.setattr(example_photos, "offer", lambda: offer_of(address, pinned))
            first, *_, last = tab.own.fetch_offer(self.request)
            assert "Fetching photo 1 of 3" in first[-1]
            assert self.names(tab) == ["ours.png", "third.png"]
            shown = tab.engine.kept("carl")
            assert shown is not None
            assert shown.name == "ours.png"
            assert (last[3]["visible"], last[3]["value"]) == (True, "Add 1 real photo")
            assert "other.png is not the pinned file" in last[-1]
            assert tab.engine.private.size == 0, "what all visitors share is nobody's"
            tab.own.take_photo(paths[1:], None, "", self.request)
            assert self.names(tab) == ["ours.png", "three.png", "two.png"], "the third is the visitor's own now"
            (tmp_path / "www" / "other.png").write_bytes(pinned["other.png"])
            *_, last = tab.own.fetch_offer(self.request)
            assert not last[3]["visible"]
            dora: Any = SimpleNamespace(session_hash="dora", headers={}, client=None)
        *_, last = tab.own.fetch_offer(dora)  # the server is gone, but not what an earlier visitor fetched
        assert [item["label"] for item in last[1]["value"]["items"]] == list(pinned)

    def test_a_photo_removed_while_others_are_fetched_stays_away(
        self, tab: CompareTab, paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
        pinned = {Path(path).name: Path(path).read_bytes() for path in paths}
        with serving(tmp_path, pinned) as address:
            monkeypatch.setattr(example_photos, "offer", lambda: offer_of(address, pinned))
            fetching = tab.own.fetch_offer(self.request)
            next(fetching)
            next(fetching)
            (name,) = self.names(tab)
            shown = tab.engine.kept("carl")
            assert shown is not None
            tab.own.remove_own(self.request, SimpleNamespace(_data={"key": shown.scene.photo.digest}))  # pyright: ignore[reportArgumentType]
            *_, last = fetching
        assert sorted(self.names(tab)) == sorted(set(pinned) - {name})
        assert last[3]["visible"], "it can still be added"

    def test_photos_that_arrive_at_once_are_all_kept(
        self, tab: CompareTab, paths: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = tab.engine.filmstrip
        monkeypatch.setattr(tab.engine, "filmstrip", lambda visitor: (before(visitor), time.sleep(0.05))[0])
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(lambda path: tab.own.take_photo([path], None, "", self.request), paths))
        assert sorted(self.names(tab)) == sorted(Path(path).name for path in paths)

    def test_without_a_network_the_offer_says_what_to_do(
        self, tab: CompareTab, paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(
            example_photos, "offer", lambda: offer_of("http://127.0.0.1:9/", {"a.png": b"a", "b.png": b"b"})
        )
        *_, (arrived, film, picked, ask, note) = tab.own.fetch_offer(self.request)
        assert [each["__type__"] for each in (arrived, film, picked, ask)] == ["update"] * 4
        assert note.count("Nothing can be fetched from 127.0.0.1 at present") == 1
        assert "drop photos of your own" in note
        assert tab.engine.kept("carl") is None

    def test_an_adapted_network_stands_beside_its_original_until_undone(
        self, tab: CompareTab, paths: list[str]
    ) -> None:
        tab.own.take_photo(paths, None, "", self.request)
        first, *_, last = tab.own.adapt.adapt("tiny_source_only", "adabn", self.request)
        assert "AdaBN" in last[0]
        assert (first[4]["interactive"], last[4]["interactive"]) == (False, True), "one at a time"
        assert last[3] > 0
        choice = Choice(OWN, "fog", 3, ["tiny_source_only", "tiny_advent"], [])
        shown = [each.name for each in tab.checkpoints(choice, "carl")[0]]
        assert shown == ["tiny_source_only", "tiny_source_only_adabn", "tiny_advent"]
        assert len(tab.checkpoints(choice, "dora")[0]) == 2, "it is its visitor's alone"
        controls = (OWN, "fog", 3, choice.methods, [])
        data = base64.b64decode(json.loads(tab.make_npz(self.request, *controls))["data"])
        with zipfile.ZipFile(io.BytesIO(data)) as files:
            assert files.namelist() == [f"{name}.npz" for name in shown]
            values = np.load(io.BytesIO(files.read("tiny_source_only_adabn.npz")))["probabilities"]
        assert values.shape == (19, 64, 96)
        tab.own.adapt.undo(self.request)
        assert len(tab.checkpoints(choice, "carl")[0]) == 2

    def test_what_cannot_be_adapted_gets_a_sentence(self, tab: CompareTab, paths: list[str]) -> None:
        assert "no photo yet" in next(tab.own.adapt.adapt("tiny_advent", "tent", self.request))[0]
        tab.own.take_photo(paths[:1], None, "", self.request)
        assert "Choose the method" in next(tab.own.adapt.adapt(None, "tent", self.request))[0]
        assert "expected adabn or tent" in next(tab.own.adapt.adapt("tiny_advent", "magic", self.request))[0]
        assert "expected adabn" in next(tab.own.adapt.adapt("tiny_advent", "magic", self.request))[0]
        assert "Too many requests" in next(tab.own.adapt.adapt("tiny_advent", "tent", self.request))[0]

    def test_probabilities_are_bounded(
        self, tab: CompareTab, paths: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compare_tab, "MOST_PROBABILITIES", 300_000)
        tab.own.take_photo(paths[:1], None, "", self.request)
        with pytest.raises(gr.Error, match="choose fewer methods, at most 1"):
            tab.make_npz(self.request, OWN, "fog", 3, ["tiny_source_only", "tiny_advent"], [])


def entries_of(folder: Path, *names: str) -> list[CatalogEntry]:
    return [CatalogEntry(name, Checkpoint.open(folder / name)) for name in names]


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> list[CatalogEntry]:
    """As many methods as there are: two source-only, four adapted to fog, four to photos."""
    folder = tmp_path_factory.mktemp("ten")
    for place in range(10):
        target = None if place < 2 else "street_scenes/fog" if place < 6 else "camvid/train"
        save_tiny(folder, f"m{place}", "advent" if target else "source_only", f"M{place}", target=target, seed=place)
    return entries_of(folder, *(f"m{place}" for place in range(10)))


def test_the_page_offers_what_suits_the_pictures(ten: list[CatalogEntry]) -> None:
    tab = CompareTab(Engine(lambda *_: pytest.fail("nothing is read")), lambda: ten)
    offers, *_ = tab.look()
    assert [name for _, name in offers["choices"]] == [f"m{place}" for place in range(10)]
    assert offers["suited"][RENDERED] == [f"m{place}" for place in range(6)]
    assert offers["suited"][OWN] == ["m0", "m1", "m6", "m7", "m8", "m9"]


def test_what_a_lent_graphics_card_raises_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Spent(gr.Error):
        """What ZeroGPU raises, whatever it was in the process that was lent."""

    def lend(function: Callable[..., Any]) -> Callable[..., Any]:
        def lent(*arguments: Any) -> Any:
            if refused:
                raise Spent("You have exceeded your GPU quota.")
            return function(*arguments)

        return lent

    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=lambda duration: lend))
    monkeypatch.setattr(demos, "catalog", list)
    monkeypatch.setattr("sim2street.app.content.engine.predictor", fail)
    engine = Engine()
    monkeypatch.setattr(demos, "ENGINE", engine)
    demos.use_zero_gpu()
    nothing: Any = None
    refused = False
    assert engine.predict(nothing, nothing, nothing, Settings()) == Failure("nowhere has no weights")
    refused = True
    answer = engine.predict(nothing, nothing, nothing, Settings())
    assert answer == Failure("ZeroGPU gave no graphics card: You have exceeded your GPU quota.", passing=True)


def fail(*_given: object) -> None:
    raise CheckpointError("nowhere has no weights")


def test_a_comparison_that_takes_too_long_ends_with_a_sentence_and_what_was_read(
    ten: list[CatalogEntry],
) -> None:
    clock = [0.0]

    def predict(*arguments: Any) -> Any:
        clock[0] += 50
        return predict_pane(*arguments)

    tab = CompareTab(Engine(predict), lambda: ten, lambda: clock[0])
    request: Any = SimpleNamespace(session_hash="anna", headers={}, client=None)
    controls = (RENDERED, "game", 3, [f"m{place}" for place in range(6)], [])
    *_, (bundle, status, summary, *_) = tab.read(request, *controls, 0)
    assert len(bundle["methods"]) == 3
    assert bundle["waiting"] == []
    assert "Stopped at the limit of 120 s" in status
    assert "3 methods have not predicted this photo" in status
    assert summary.count("<tr>") == 1 + 3
    *_, (bundle, status, *_) = tab.read(request, *controls, 0)  # what was read is kept, so another try gets further
    assert len(bundle["methods"]) == 6
    assert status.startswith("6 methods,")


def test_stop_ends_what_was_asked_for_before_it(ten: list[CatalogEntry]) -> None:
    request: Any = SimpleNamespace(session_hash="anna", headers={}, client=None)
    other: Any = SimpleNamespace(session_hash="ben", headers={}, client=None)
    controls = (RENDERED, "game", 3, ["m0", "m1"], [], {})
    predicted: list[str] = []

    def predict(checkpoint: Checkpoint, *arguments: Any) -> Any:
        predicted.append(checkpoint.name)
        bundle, said, summary, *_ = tab.stopped(request, *controls, 1)  # in the midst of the first prediction
        assert summary == "", "the figures of another photo are taken away"
        assert "Stopped; 2 methods have not predicted this photo" in said
        assert bundle["methods"] == []
        return predict_pane(checkpoint, *arguments)

    tab = CompareTab(Engine(predict), lambda: ten)
    nothing = [(gr.skip(),) * 6]
    *shown, last = tab.read(request, *controls, 0)
    assert predicted == ["m0"], "the prediction under way is the last"
    assert len(shown) == 1
    assert [last] == nothing, "Gradio sends it again, over what Stop said"
    assert list(tab.read(request, *controls, 0)) == nothing, "nor does one begin that waited in a queue"
    tab.engine.predict = predict_pane
    *_, (_, status, *_) = tab.read(request, *controls, 1)
    assert status.startswith("2 methods,")
    *_, (_, status, *_) = tab.read(other, *controls, 0)
    assert status.startswith("2 methods,"), "others are not stopped"
    tab.forget(request)
    *_, (_, status, *_) = tab.read(request, *controls, 0)
    assert status.startswith("2 methods,")


def test_downloads_are_followed_until_they_have_arrived(ten: list[CatalogEntry]) -> None:
    """What arrives is offered, and nobody looks when nothing is on its way."""
    late = CatalogEntry("m5", None, "Being fetched.", Download(done=3_000_000, total=47_000_000))
    entries = [*ten[:5], late]
    tab = CompareTab(Engine(), lambda: entries)
    offers, _, problems, watch = tab.look()
    assert "m5" not in offers["suited"][RENDERED]
    assert "Being fetched. 3.0 MB of 47 MB." in problems
    assert watch["active"]
    entries[5] = ten[5]
    offers, methods, problems, watch = tab.look()
    assert methods["choices"] == offers["choices"], "the server refuses a method of which it does not know"
    assert (problems, watch["active"], offers["suited"][RENDERED][-1]) == ("", False, "m5")


def test_the_catalog_is_looked_at_once_for_many_and_soon_again_while_something_comes() -> None:
    now, looks = [0.0], list[float]()
    answer = [CatalogEntry("late", None, "Being fetched.", Download())]

    def look() -> list[CatalogEntry]:
        looks.append(now[0])
        time.sleep(0.02)
        return answer

    recent = demos.Recent(look, lambda: now[0])
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda _: recent(), range(16))) == [answer] * 16
    assert looks == [0]
    now[0] = 1.5
    answer = []
    assert recent() == []
    now[0] = 20
    recent()
    assert looks == [0, 1.5]
    now[0] = 22
    recent()
    assert looks == [0, 1.5, 22]


@pytest.mark.slow
def test_the_page_installs_without_accelerate_and_streamlit() -> None:
    code = (
        "import sys; sys.modules.update({'accelerate': None, 'streamlit': None, 'tensorboard': None});"
        "import sim2street.app.demo; sim2street.app.demo.build_demo(entries=list); print('built')"
    )
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip().endswith("built"), done.stderr[-2000:]


class TestRooms:
    """Benchmark and Methods, without a server."""

    def tab(self, tiny_checkpoints: Path, engine: Engine, **options: Any) -> FailuresTab:
        names = ("tiny_source_only", "tiny_advent")
        entries = [CatalogEntry(name, Checkpoint.open(tiny_checkpoints / name)) for name in names]
        return FailuresTab(engine, lambda: entries, **options)

    def test_the_published_rows_are_those_of_the_other_page(self) -> None:
        quoted = benchmark_tab._published("GTA5 → Cityscapes", False)
        assert "75.9" in quoted
        every = benchmark_tab._published("SYNTHIA → Cityscapes", True)
        assert "13 classes" in every

    def test_each_sweep_is_shown(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "broken.json").write_text("{")
        monkeypatch.setenv("SIM2STREET_RESULTS", str(tmp_path))
        offered, broken = benchmark_tab._sweeps()
        assert "broken.json cannot be read" in broken
        for title in offered["choices"]:
            assert 'role="listitem"' in benchmark_tab._measured(title)
        assert benchmark_tab._measured("gone") == ""
        shown = benchmark_tab._measured("Clean look to night")
        assert "Class by class" in shown
        assert 'class="differences"' in shown

    def test_images_begin_with_what_the_address_asks_for(self, tiny_checkpoints: Path) -> None:
        tab = self.tab(tiny_checkpoints, Engine())
        names = ["tiny_source_only", "tiny_advent"]
        first, reader, against, titled, gone = tab.offer({})
        assert (first["value"], reader["value"], against["value"], gone) == (FIRST_SET, names[0], NO_COMPARISON, "")
        assert list(titled["reader"]) == names
        asked = {"set": "Rendered streets, night", "reader": "<i>gone", "against": "ADVENT"}
        first, reader, against, _, gone = tab.offer(asked)
        assert (first["value"], reader["value"], against["value"]) == ("street_scenes/night", *names)
        assert "asks for “&lt;i&gt;gone”, which is not here" in gone

    def test_a_set_is_read_and_shown(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path
    ) -> None:
        monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path))
        monkeypatch.setattr(labelled_sets, "STREET_COUNT", 2)
        tab = self.tab(tiny_checkpoints, Engine())
        asked = ("street_scenes/night", "tiny_advent", "tiny_source_only", ORDERS[3], "")
        said, matrix, calibration, *_, button, stop, watch = tab.show(*asked)
        assert (said, matrix, calibration["visible"]) == ("", None, False)
        assert (button["visible"], stop["visible"], watch["active"]) == (True, False, False)
        tab.start(*asked)
        until = time.monotonic() + 120
        while tab.show(*asked)[-1]["active"] and time.monotonic() < until:
            time.sleep(0.05)
        said, matrix, calibration, reliability, classes, heading, cards, button, _, watch = tab.show(*asked)
        assert "Mean IoU" in said
        assert calibration["visible"]
        confidences = reliability.data[1].x
        assert list(confidences) == sorted(confidences)
        assert "Images: " in heading
        assert "Boundary IoU" in classes
        assert len(cards["items"]) == 2
        assert "differ" in cards["items"][0]["said"]
        alone = tab.show(*asked[:2], "none", *asked[3:])[6]
        assert len(alone["items"]) == 2, "an order of differences does not hide images that are compared with nothing"
        assert (button["visible"], watch["active"]) == (False, False)
        row = matrix["rows"][0]
        wrong = next(i for i, share in enumerate(row["share"]) if share and matrix["columns"][i] != row["value"])
        choice = f"{row['value']},{matrix['columns'][wrong]}"
        _, matrix, *_, heading, cards, _, _, _ = tab.show(*asked[:-1], choice)
        assert "predicted as" in heading
        assert matrix["chosen"] == choice
        assert cards["items"][0]["said"].endswith(("pixels", "pixel"))
        never = next(i for i in range(19) if i not in matrix["columns"])
        *_, heading, cards, _, _, _ = tab.show(*asked[:-1], f"{row['value']},{never}")
        assert not cards["items"]
        assert "No predicted image has any such pixels." in heading

    def test_where_cards_are_lent_no_set_is_read(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path
    ) -> None:
        monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path))
        tab = self.tab(tiny_checkpoints, Engine(), reads=False)
        *_, button, _, watch = tab.start("street_scenes/rain", "tiny_advent", "none", ORDERS[0], "")
        assert not button["visible"]
        assert not watch["active"]

    def test_what_nobody_offers_is_refused(self, tiny_checkpoints: Path) -> None:
        tab = self.tab(tiny_checkpoints, Engine())
        assert "There is no set" in tab.show("../etc", "tiny_advent", "none", ORDERS[0], "")[0]
        assert "No checkpoint" in tab.show("street_scenes/fog", "nowhere", "none", ORDERS[0], "")[0]

    def test_a_card_turns_to_compare(self) -> None:
        event: Any = SimpleNamespace(_data={"key": "b"})
        offers = {"choices": [["A", "a"], ["B", "b"]], "suited": {RENDERED: ["a"], OWN: ["c"]}}
        tabs, chosen, methods, view = with_checkpoint(RENDERED, {}, offers, event)
        assert tabs["selected"] == "compare"
        assert (chosen, methods) == ({RENDERED: ["a", "b"]}, ["a", "b"])
        assert view.keys() == {"right", "ticket"}
        chosen = {RENDERED: ["d", "b"], OWN: ["c"]}
        _, then, methods, again = with_checkpoint(RENDERED, chosen, offers, event)
        assert (then, methods) == (chosen, ["d", "b"])
        assert again["ticket"] != view["ticket"], "so that the same comparison is drawn again"
        event._data["key"] = "nobody"
        assert with_checkpoint(RENDERED, {}, offers, event) == (gr.skip(),) * 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("game", odd, None), "The street is .*; expected a whole number from 0 to")
        for odd in (1e308, float("nan"), -1, 10**400, "3", True, None, [[]], {"a": 1})
    ]
    + [((odd, 3, None), "There is no style .*; known are game") for odd in (1.5, True, [[]], {"a": 1}, "x" * 1000)]
    + [
        (("game", 3, odd), "methods is .*; expected a list of names")
        for odd in (1e308, True, "m1", {"a": 1}, [["m1"]], [1])
    ]
    + [(("game", 3, ["x" * 1000]), "There is no method .*; known are m0")],
)
def test_a_call_of_odd_types_is_answered_by_a_sentence(
    ten: list[CatalogEntry], arguments: tuple[Any, ...], said: str
) -> None:
    api = demo_api.DemoApi(Engine(lambda *_: pytest.fail("nothing is read")), lambda: ten)
    with pytest.raises(gr.Error, match=said) as raised:
        api.segment_street(gr.Request(client={"host": "198.51.100.7"}, headers={}), *arguments)  # pyright: ignore[reportArgumentType]
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "odd",
    [
        3,
        True,
        "x",
        [],
        [1],
        {},
        {"path": 3},
        {"path": "photo.jpg"},
        {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": "../../../etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": ["a"], "meta": {"_type": "gradio.FileData"}},
        {"url": "http://127.0.0.1:1/a.jpg", "path": "a.jpg", "meta": {"_type": "gradio.FileData"}},
    ],
)
def test_a_photo_that_was_not_uploaded_is_answered_by_a_sentence(url: str, odd: object) -> None:
    begun = httpx.post(f"{url}gradio_api/call/segment", json={"data": [odd, [], False]}, timeout=30)
    answer = begun.text
    if begun.is_success:
        answer = httpx.get(f"{url}gradio_api/call/segment/{begun.json()['event_id']}", timeout=30).text
        assert "event: error" in answer
    assert "does not fit its field" in answer or "call has no photo" in answer
    assert "passwd" not in answer


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [
        (FailuresTab, ("street_scenes/fog", None, "none", next(iter(ORDERS)), "")),
        (GapTab, ("street_scenes/game", "street_scenes/fog", "tiny_source_only", None)),
    ],
)
def test_a_choice_that_is_still_being_filled_in_changes_nothing(
    kind: type[FailuresTab | GapTab], chosen: tuple[str | None, ...], tiny_checkpoints: Path
) -> None:
    """Its answer can arrive after the one to the whole choice, and would hide the button that this one shows."""
    entries = [CatalogEntry("tiny_source_only", Checkpoint.open(tiny_checkpoints / "tiny_source_only"))]
    assert all(value == gr.skip() for value in kind(Engine(), lambda: entries).show(*chosen))
    assert kind(Engine(), lambda: []).show(*chosen)[0] == "No checkpoint was found."


@pytest.mark.parametrize("kind", [FailuresTab, GapTab])
def test_what_predicts_a_set_stops_after_the_image_at_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path, kind: type[SetTab]
) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path))
    entries = [CatalogEntry("tiny_advent", Checkpoint.open(tiny_checkpoints / "tiny_advent"))]
    tab = kind(Engine(), lambda: entries)
    sets = ("street_scenes/rain", "street_scenes/overcast")
    asked = (*sets, "tiny_advent", "tiny_advent")
    if kind is FailuresTab:
        asked = (sets[0], "tiny_advent", "none", ORDERS[0], "")
    entered, free = threading.Event(), threading.Event()
    monkeypatch.setattr(Task, "report", _held(Task.report, entered, free))
    tab.start(*asked)
    try:
        assert entered.wait(60), "it predicts one image"
        (task,) = tab.tasks(*asked)
        assert _controls_of(tab, asked) == (False, True, True)
        said = tab.stop(*asked)[0]
        assert "Stopping" in said
        assert task.under_way
    finally:
        free.set()
    until = time.monotonic() + 120
    while task.under_way and time.monotonic() < until:
        time.sleep(0.05)
    assert task.state is TaskState.STOPPED
    assert task.done == 1 < task.total
    assert _controls_of(tab, asked) == (True, False, False)
    assert "There is no" in tab.stop("nowhere/val", *asked[1:])[0]


def _controls_of(tab: SetTab, asked: tuple[str, ...]) -> tuple[bool, bool, bool]:
    """Whether it can be started, whether it can be stopped, and whether the page looks again by itself."""
    begin, stop, watch = tab.controlled(tab.tasks(*asked), missing=True)
    return begin["visible"], stop["visible"], watch["active"]


def _held(report: Callable[..., None], entered: threading.Event, free: threading.Event) -> Callable[..., None]:
    """`Task.report` that waits after the first image."""

    def held(task: Task, done: int) -> None:
        if done:
            entered.set()
            free.wait(60)
        report(task, done)

    return held


@pytest.mark.parametrize("room", ["gap", "images"])
def test_what_is_too_much_now_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path, room: str
) -> None:
    def busy(*_: object) -> None:
        raise BusyError("8 computations are already waiting.")

    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path))
    monkeypatch.setattr("sim2street.app.content.domain_gap.begin", busy)
    monkeypatch.setattr("sim2street.app.demo_page.failures_tab.begin", busy)
    names = ("tiny_source_only", "tiny_advent")
    entries = entries_of(tiny_checkpoints, *names)
    if room == "gap":
        shown = GapTab(Engine(), lambda: entries).start("street_scenes/game", "street_scenes/fog", *names)
        said, button = shown[0], shown[1]
    else:
        shown = FailuresTab(Engine(), lambda: entries).start("street_scenes/night", *names, ORDERS[3], "")
        said, button = shown[0], shown[-3]
    assert "already waiting" in said
    assert button["visible"]


def test_a_gap_is_not_computed_where_the_gpu_is_lent_by_the_photo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path
) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path))
    started: list[object] = []
    monkeypatch.setattr(BACKGROUND, "start", lambda key, *_: started.append(key))
    names = ("tiny_source_only", "tiny_advent")
    entries = [CatalogEntry(name, Checkpoint.open(tiny_checkpoints / name)) for name in names]
    for reads in (False, True):
        tab = GapTab(Engine(), lambda: entries, reads=reads)
        begin = tab.start("street_scenes/game", "street_scenes/fog", *names)[1]
        assert begin["visible"] is reads
        assert len(started) == reads
    assert "There is no &#x27;nowhere/val&#x27; here" in tab.show("nowhere/val", "street_scenes/fog", *names)[0]
    assert [each["value"] for each in tab.offer()] == list(names)
    assert GapTab(Engine(), lambda: []).show(None, None, None, None)[0] == "No checkpoint was found."
