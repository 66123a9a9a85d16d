from __future__ import annotations

import contextlib
import importlib.util
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sim2street.models import photo as photo_module
from sim2street.models import prediction as prediction_module
from sim2street.models.drawing import HEAT, heatmap, overlay
from sim2street.models.errors import ConfigError, LabelError
from sim2street.models.label_space import LabelSpace
from sim2street.models.labels import CAMVID11, CITYSCAPES19, IDD_LITE7, SYNTHIA16
from sim2street.models.networks import build
from sim2street.models.photo import Photo
from sim2street.models.prediction import Prediction, Upsampled, View
from sim2street.models.predictor import MAX_NETWORK_PIXELS, Predictor, has_bf16
from sim2street.models.segmenter import IMAGENET, Core, Segmenter
from sim2street.models.storage.checkpoint import Window
from tests.models.test_deeplab_v2 import SLIM


def test_uniform_probabilities_have_entropy_one_and_certain_ones_zero() -> None:
    probabilities = np.full((19, 2, 3), 1 / 19, np.float32)
    probabilities[:, 0, 0] = np.eye(19, dtype=np.float32)[7]
    prediction = Prediction.from_probabilities(probabilities, CITYSCAPES19, 0.1)
    assert prediction.entropy[0, 0] == 0
    assert prediction.entropy[1] == pytest.approx(1)
    assert prediction.labels[0, 0] == 7
    assert (prediction.labels[1] == 0).all(), "of equals the first"
    assert prediction.confidence[0, 0] == 1
    with pytest.raises(ValueError, match=r"needs \(19, H, W\)"):
        Prediction.from_probabilities(probabilities[:5], CITYSCAPES19, 0)


def test_strips_do_not_show() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(19), size=(1100, 1000)).transpose(2, 0, 1).astype(np.float32)
    whole = Prediction.from_probabilities(probabilities, CITYSCAPES19, 0)
    part = Prediction.from_probabilities(probabilities[:, 1040:1060], CITYSCAPES19, 0)
    assert (whole.labels[1040:1060] == part.labels).all()
    np.testing.assert_array_equal(whole.entropy[1040:1060], part.entropy)
    assert (whole.labels == probabilities.argmax(axis=0)).all()
    nats = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(axis=0)
    np.testing.assert_allclose(whole.entropy, nats / np.log(19), atol=1e-6)


def test_any_array_and_tensor_of_probabilities_will_do() -> None:
    plain = np.random.default_rng(0).dirichlet(np.ones(19), size=(6, 8)).transpose(2, 0, 1).astype(np.float32)
    expected = Prediction.from_probabilities(plain, CITYSCAPES19, 0)
    locked = plain.copy()
    locked.flags.writeable = False
    tensor = torch.from_numpy(plain.copy()).requires_grad_()
    for given in (locked, plain.astype(">f4"), plain.astype(np.float64), plain[:, :, ::-1].copy()[:, :, ::-1], tensor):
        prediction = Prediction.from_probabilities(given, CITYSCAPES19, 0)
        assert prediction.probabilities.dtype == prediction.entropy.dtype == np.float32
        assert (prediction.labels == expected.labels).all()
        np.testing.assert_array_equal(prediction.entropy, expected.entropy)
    half = Prediction.from_probabilities(tensor.half(), CITYSCAPES19, 0)
    assert np.isfinite(half.entropy).all()


def test_coarser_space_sums_and_subset_changes_nothing() -> None:
    probabilities = np.zeros((19, 1, 1), np.float32)
    probabilities[0], probabilities[13], probabilities[15] = 0.4, 0.3, 0.3
    merged = Prediction.from_probabilities(probabilities, CITYSCAPES19, 0, CAMVID11)
    assert CAMVID11.names[merged.labels[0, 0]] == "car", "although road is the best of the 19"
    assert merged.confidence[0, 0] == pytest.approx(0.6)
    own = Prediction.from_probabilities(probabilities, CITYSCAPES19, 0)
    assert merged.entropy[0, 0] == own.entropy[0, 0], "the entropy stays the network's"
    subset = Prediction.from_probabilities(probabilities, CITYSCAPES19, 0, SYNTHIA16)
    assert subset.space is CITYSCAPES19
    with pytest.raises(LabelError, match="11 classes of camvid11 cannot be merged into the 7 of idd_lite7"):
        Prediction.from_probabilities(np.full((11, 1, 1), 1 / 11, np.float32), CAMVID11, 0, IDD_LITE7)


@pytest.fixture(params=["PyTorch", "compiled code"])
def code(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What makes labels, confidence and entropy."""
    if request.param == "PyTorch":
        monkeypatch.setattr(prediction_module, "compiled_code", lambda: None)
    elif prediction_module.compiled_code() is None:
        pytest.skip("needs .[fast]")
    return request.param


def views_of_a_scene(count: int = 1) -> list[View]:
    """Logits as smooth as a network's, of which one pixel holds no numbers."""
    generator = torch.Generator().manual_seed(1)
    coarse = 6 * torch.randn(count, 19, 4, 9, generator=generator)
    maps = F.interpolate(coarse, size=(24, 70), mode="bicubic")
    maps[0, :, 20, 60] = float("nan")
    return [View(each.contiguous()) for each in maps]


@pytest.mark.parametrize("space", [CITYSCAPES19, CAMVID11])
@pytest.mark.parametrize("threads", [1, 3])
def test_compiled_code_says_what_pytorch_says(space: LabelSpace, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if prediction_module.compiled_code() is None:
        pytest.skip("needs .[fast]")
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    source = Upsampled(views_of_a_scene(), (95, 279), align_corners=False)
    quick = Prediction.of(source, CITYSCAPES19, 0, space)
    listed = quick.candidates(3, 2)
    monkeypatch.setattr(prediction_module, "compiled_code", lambda: None)
    plain = Prediction.of(source, CITYSCAPES19, 0, space)
    expected = plain.candidates(3, 2)
    assert (quick.labels != plain.labels).mean() < 1e-4
    assert quick.space is plain.space
    for mine, theirs in (
        (quick.confidence, plain.confidence),
        (quick.entropy, plain.entropy),
        (listed[1], expected[1]),
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert (listed[0] != expected[0]).mean() < 1e-3
    assert np.isnan(quick.confidence).any()


@pytest.mark.usefixtures("code")
def test_neighbours_that_exclude_each_others_class_leave_the_third() -> None:
    """Between two cells each certain of its class, by a factor that no float holds, both are less likely than a third."""
    logits = torch.full((19, 1, 2), -900.0)
    logits[3, 0, 0] = logits[5, 0, 1] = 0
    for third, left, right in ((-300, 7, 7), (-900, 3, 5)):
        logits[7] = third
        prediction = Prediction.of(Upsampled([View(logits)], (1, 400), align_corners=True), CITYSCAPES19, 0)
        assert prediction.labels[0, [0, 185, 214, 399]].tolist() == [3, left, right, 5]
        np.testing.assert_allclose(prediction.confidence[0, [0, 185, 214, 399]], 1, atol=1e-5)
        np.testing.assert_allclose(prediction.entropy[0, [0, 185, 214, 399]], 0, atol=1e-5)


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("space", [CITYSCAPES19, CAMVID11])
def test_entropy_can_be_left_for_later(space: LabelSpace) -> None:
    source = Upsampled(views_of_a_scene(), (95, 279), align_corners=False)
    at_once, later = (Prediction.of(source, CITYSCAPES19, 0, space, with_entropy=when) for when in (True, False))
    assert later._entropy is None
    for mine, theirs in zip(*([each.labels, each.confidence, each.entropy] for each in (at_once, later)), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.usefixtures("code")
def test_several_views_are_averaged() -> None:
    second = views_of_a_scene(2)[1]
    both = Prediction.of(Upsampled([second, second], (50, 140), align_corners=True), CITYSCAPES19, 0)
    one = Prediction.of(Upsampled([second], (50, 140), align_corners=True), CITYSCAPES19, 0)
    np.testing.assert_allclose(both.entropy, one.entropy, atol=1e-5)


def test_compiled_code_is_loaded_when_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch computes small photos first; the one that completes three megapixels, and all after it, are compiled."""
    asked = []
    monkeypatch.delitem(sys.modules, prediction_module.COMPILED, raising=False)
    monkeypatch.setattr(prediction_module, "_computed", 0)
    monkeypatch.setattr(prediction_module, "WORTH_LOADING", 3 * 50 * 140)
    monkeypatch.setattr(prediction_module, "compiled_code", lambda: asked.append(1))
    source = Upsampled(views_of_a_scene(), (50, 140), align_corners=False)
    for expected in (0, 0, 1, 2):
        Prediction.of(source, CITYSCAPES19, 0)
        assert len(asked) == expected
    monkeypatch.setattr(prediction_module, "_computed", 0)
    monkeypatch.setitem(sys.modules, prediction_module.COMPILED, prediction_module)
    Prediction.of(source, CITYSCAPES19, 0)
    assert len(asked) == 3


def test_numba_that_does_not_work_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "sim2street.models.compiled", None)  # importing it raises ImportError
    monkeypatch.delattr("sim2street.models.compiled", raising=False)
    prediction_module.compiled_code.cache_clear()
    try:
        assert prediction_module.compiled_code() is prediction_module.compiled_code() is None
    finally:
        prediction_module.compiled_code.cache_clear()
    assert [record.message[:36] for record in caplog.records] == ["Numba is installed but does not work"]


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("logits", "photo"),
    [((13, 24), (97, 190)), ((1, 1), (5, 7)), ((24, 13), (24, 130)), ((30, 40), (20, 25)), ((8, 9), (1, 9))],
)
def test_strips_equal_upsampling_everything_at_once(
    align_corners: bool, logits: tuple[int, int], photo: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim2street.models.prediction.STRIP", 500)
    generator = torch.Generator().manual_seed(0)
    views = [View(4 * torch.randn(19, *logits, generator=generator), flipped) for flipped in (False, True)]
    straight, mirrored = (
        F.interpolate(view.logits[None], size=photo, mode="bilinear", align_corners=align_corners)[0].softmax(dim=0)
        for view in views
    )
    for chosen, expected in ((views[:1], straight), (views, (straight + mirrored.flip(-1)) / 2)):
        prediction = Prediction.of(Upsampled(chosen, photo, align_corners), CITYSCAPES19, 0)
        np.testing.assert_allclose(prediction.probabilities, expected.numpy(), atol=3e-6)
        np.testing.assert_allclose(prediction.confidence, expected.amax(dim=0).numpy(), atol=3e-6)
        nats = torch.special.entr(expected).sum(dim=0) / np.log(19)
        np.testing.assert_allclose(prediction.entropy, nats.numpy(), atol=3e-6)
        assert (prediction.labels == prediction.probabilities.argmax(axis=0)).all()
        for stride in (1, 3):
            classes, shares = prediction.candidates(3, stride)
            first = min(stride // 2, photo[0] - 1)
            grid = prediction.probabilities[:, first::stride, stride // 2 :: stride]
            np.testing.assert_allclose(shares, np.sort(grid, axis=0)[:-4:-1], atol=1e-6)
            named = np.take_along_axis(grid, classes.astype(np.int64), axis=0)
            np.testing.assert_allclose(named, shares, atol=1e-6)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return build("deeplab_v2", options=SLIM).eval()


@pytest.mark.parametrize("size", [(97, 131), (360, 270), (16, 160), (33, 17)])
def test_prediction_has_the_photos_size(segmenter: Segmenter, size: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for window in (Window(short_side=64), Window(), Window(crop=(48, 64))):
        prediction = Predictor(segmenter, window, device="cpu")(photo)
        assert prediction.labels.shape == prediction.entropy.shape == size
        assert prediction.probabilities.shape == (19, *size)
        np.testing.assert_allclose(prediction.probabilities.sum(axis=0), 1, atol=1e-5)
        assert 0 <= prediction.entropy.min() <= prediction.entropy.max() <= 1


@pytest.mark.parametrize(
    ("size", "shown"),
    [((256, 512), (288, 576)), ((360, 480), (353, 470)), ((480, 360), (470, 353)), ((300, 1000), (288, 960))],
)
def test_photos_that_are_not_wide_are_shown_larger(
    segmenter: Segmenter, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    predictor = Predictor(segmenter, Window(short_side=288, min_pixels=576 * 288), device="cpu")
    (image,) = predictor.shown(np.zeros((*size, 3), np.uint8))
    assert image.shape[-2:] == shown


def test_networks_that_read_at_one_size_share_the_resized_photo(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    photo, resizing = Photo(pixels, "street.png", ""), []
    resize = photo_module._resized
    monkeypatch.setattr(photo_module, "_resized", lambda *given: resizing.append(given[1]) or resize(*given))
    for side in (48, 32, 48, 32, 40, 48):
        predictor = Predictor(segmenter, Window(short_side=side, resampling="bicubic"), device="cpu")
        shared = predictor(photo)
        np.testing.assert_array_equal(
            shared.labels, Predictor(segmenter, predictor.window, device="cpu")(pixels).labels
        )
    sizes = [(80, 48), (53, 32), (67, 40)]
    assert resizing == [sizes[0]] * 2 + [sizes[1]] * 2 + [sizes[0], sizes[1]] + [sizes[2]] * 2 + [sizes[0]] * 2


def test_the_narrowest_photo_is_not_enlarged_beyond_the_limit() -> None:
    """The short side is rounded up to a whole multiple, 32 times what is left of it."""
    core = Colours()
    core.multiple = 32
    predictor = Predictor(Segmenter(core, CITYSCAPES19), Window(short_side=288), device="cpu")
    (image,) = predictor.shown(np.zeros((1, 600_000, 3), np.uint8))
    assert image.shape[-2] == 32
    assert image.shape[-1] <= MAX_NETWORK_PIXELS / 32 + 32


def test_flip_averaging_is_symmetric(segmenter: Segmenter) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    predictor = Predictor(segmenter, Window(), device="cpu", flip=True)
    straight = predictor(photo).probabilities
    mirrored = predictor(np.ascontiguousarray(photo[:, ::-1])).probabilities[..., ::-1]
    np.testing.assert_allclose(straight, mirrored, atol=1e-5)


def test_scales_are_averaged(segmenter: Segmenter) -> None:
    photo = np.random.default_rng(2).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    one, two, both = (
        Predictor(segmenter, Window(short_side=64), device="cpu", scales=scales)(photo).probabilities
        for scales in ((1.0,), (1.5,), (1.0, 1.5))
    )
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-6)
    with pytest.raises(ConfigError, match="scales"):
        Predictor(segmenter, device="cpu", scales=(9.0,))


class Colours(Core):
    """Logits that depend on the pixel alone, so that windows must not show."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"main": torch.cat([images, images.mean(dim=1, keepdim=True).expand(-1, 16, -1, -1)], dim=1)}


def test_windows_cover_every_pixel_and_average() -> None:
    segmenter = Segmenter(Colours(), CITYSCAPES19, IMAGENET)
    photo = np.random.default_rng(3).integers(0, 256, (70, 110, 3), dtype=np.uint8)
    whole = Predictor(segmenter, Window(), device="cpu")(photo).probabilities
    for crop, stride in (((32, 32), None), ((70, 110), None), ((64, 48), (20, 31)), ((500, 500), (16, 16))):
        windows = Predictor(segmenter, Window(crop=crop, stride=stride), device="cpu")(photo).probabilities
        np.testing.assert_allclose(windows, whole, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_figures_are_measured_in_full_precision_unless_asked(
    segmenter: Segmenter, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An NVIDIA GPU, which is not here, and a processor that does not compute in bf16."""
    asked: list[torch.dtype] = []

    def autocast(_device: str, dtype: torch.dtype) -> contextlib.AbstractContextManager[None]:
        asked.append(dtype)
        return contextlib.nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr("sim2street.models.predictor.has_bf16", lambda kind: kind == "cuda")
    predictor = Predictor(segmenter, Window(), device="cpu", precision=precision)  # type: ignore[arg-type]
    predictor(np.zeros((64, 96, 3), np.uint8))
    assert asked == []
    predictor.device = torch.device("cuda")
    with predictor._at_precision():
        rounded = torch.backends.cudnn.allow_tf32
    assert rounded is (precision == "bf16")
    assert torch.backends.cudnn.allow_tf32
    assert asked == ([torch.bfloat16] if precision == "bf16" else [])
    assert Predictor(segmenter).precision == "fp32"


@pytest.mark.skipif(not has_bf16("cpu"), reason="needs a processor with bf16")
@pytest.mark.parametrize("name", ["daformer", "segformer", "hrda"])
def test_bf16_on_a_processor_changes_few_labels(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, options={"variant": "b0", "width": 0.25, "channels": 16})
    photo = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    exact, rounded = (
        Predictor(network, Window(), device="cpu", precision=precision)(photo) for precision in ("fp32", "bf16")
    )
    assert 0 < np.abs(exact.confidence - rounded.confidence).max() < 0.02
    assert (exact.labels == rounded.labels).mean() > 0.9  # of an untrained network, whose classes are nearly equal


def test_wrong_arrays_are_refused(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Predictor(segmenter, device="cpu")(np.zeros((10, 10, 3), np.float32))


def test_heatmap_and_overlay() -> None:
    colours = heatmap(np.array([[0, 1, 2, -1, np.nan]], np.float32))
    assert colours[0, 0].tolist() == HEAT[0].tolist()
    assert colours[0, 1].tolist() == colours[0, 2].tolist() == HEAT[-1].tolist()
    assert colours[0, 3].tolist() == colours[0, 4].tolist() == HEAT[0].tolist()
    photo = np.full((1, 2, 3), 100, np.uint8)
    labels = np.array([[0, 255]], np.uint8)
    mixed = overlay(photo, CITYSCAPES19.colourise(labels), labels, 0.5)
    assert mixed[0, 0].tolist() == [114, 82, 114]
    assert mixed[0, 1].tolist() == [100, 100, 100]
