"""Print how fast this project is: every row is ours against a peer, in turns, in processor time.

    sim2street bench [--rounds 9] [--quick] [WORD ...]

A ratio above 1 means that ours is faster; it is the median over the rounds, with the lowest and the highest. Aims are those
that the project has set itself. Peers come with the extra `bench`; where one is missing, its row says so. WORD picks the
rows whose description contains it; one that none contains ends with the list of descriptions. --quick runs everything once
on small pictures, to see that it still works.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks import peers, steps
from benchmarks.limits import flop_of, limits
from benchmarks.machine import machine_line
from benchmarks.rounds import Spread, in_turns
from benchmarks.script import run
from sim2street import child_environment
from sim2street.app.content.engine import Settings, predict_pane, predictor
from sim2street.app.content.panes import LONG_SIDE, Reading, bundle, encode_plane
from sim2street.models.compiled_code import compiled_code
from sim2street.models.errors import ConfigError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.metrics import confusion_matrix
from sim2street.models.networks import build
from sim2street.models.networks.daformer import DilatedDepthwise
from sim2street.models.networks.for_prediction import for_prediction
from sim2street.models.photo import Photo
from sim2street.models.prediction import Prediction, Upsampled, View
from sim2street.models.predictor import Predictor, has_bf16
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.catalog import find_checkpoint
from sim2street.training.commands.arguments import parse_positive
from sim2street.training.datasets import open_dataset
from sim2street.training.datasets.base import SegmentationDataset
from sim2street.training.datasets.camvid import CamVid
from sim2street.training.datasets.street_scenes import render
from sim2street.training.evaluate import evaluate
from sim2street.training.export import in_engine
from sim2street.training.run.allocator import keep_freed_memory

Call = Callable[[], object]

SMALL_METHODS = (
    "source_only_game",
    "dann_streets_to_cityscapes",
    "cycada_game_to_fog",
    "source_only_game_mit",
    "daformer_game_and_randomised_to_fog_mit",
    "advent_streets_to_cityscapes",
)
OPENVINO, ONNXRUNTIME = "OpenVINO", "ONNX Runtime"


@dataclass
class Row:
    """One piece of work, ours and by peers.

    Attributes:
        work: what is done.
        ours: does it.
        peers: by name, what does the same; or why there is none.
        aims: by the same names, the ratio aimed at.
        flop: floating-point operations of ours, for its share of the limit; 0 where the limit is another.
        agreement: how far results of both differ, by peer.
    """

    work: str
    ours: Call
    peers: dict[str, Call | str]
    aims: dict[str, float] = field(default_factory=dict)
    flop: int = 0
    agreement: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What can be measured: a description to choose it by, and what prepares it."""

    title: str
    prepare: Callable[[float], Iterator[Row]]
    """From a factor on the pictures' sides, rows; each is measured before the next is prepared."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="sim2street bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="only rows whose description contains one of these")
    parser.add_argument("--rounds", type=parse_positive, default=9)
    parser.add_argument("--quick", action="store_true", help="one round on small pictures; its figures mean nothing")
    options = parser.parse_args()
    keep_freed_memory()  # as the command line does
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cv2.setNumThreads(1)
    compiled_code()  # loaded now, as it would be in a process that has computed some photos
    rounds, factor = (1, 0.25) if options.quick else (options.rounds, 1.0)
    works = chosen(options.words)
    rate, said = limits(rounds)
    print(f"{machine_line()}\n\n{said} Processor time; median, lowest and highest of {rounds}.\n")
    print("| work | compared with | ours, ms | theirs, ms | theirs / ours | aim | of the matrix rate | difference |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for work in works:
        for row in work.prepare(factor):
            print("\n".join(lines(row, rounds, rate)), flush=True)


def chosen(words: list[str]) -> list[Work]:
    """The rows whose description contains one of the words; all of them if there are no words.

    Raises:
        ConfigError: no description contains one of them.
    """
    found = {word: [work for work in WORK if word.lower() in work.title.lower()] for word in words}
    unknown = [word for word, works in found.items() if not works]
    if unknown:
        titles = "; ".join(work.title for work in WORK)
        raise ConfigError(f"No row contains {' or '.join(map(repr, unknown))}. Use words of these: {titles}.")
    return [work for work in WORK if not words or any(work in works for works in found.values())]


def lines(row: Row, rounds: int, rate: float) -> Iterator[str]:
    """Measure a row; one line for each peer."""
    calls: dict[str, Call] = {"ours": row.ours}
    calls |= {name: peer for name, peer in row.peers.items() if not isinstance(peer, str)}
    with torch.inference_mode(mode=False):
        taken = in_turns(calls, rounds)
    ours = Spread.of(taken["ours"])
    share = f"{row.flop / rate / ours.median:.0%}" if row.flop else "–"
    for name, peer in row.peers.items():
        aim = f"≥ {row.aims[name]:g}" if name in row.aims else "–"
        if isinstance(peer, str):
            yield f"| {row.work} | {name} | {ours.shown(1)} | {peer} | – | {aim} | {share} | – |"
            continue
        theirs = Spread.of(taken[name])
        ratio = Spread.of([slow / fast for slow, fast in zip(taken[name], taken["ours"], strict=True)])
        agreement = row.agreement.get(name, "–")
        yield (
            f"| {row.work} | {name} | {ours.shown(1)} | {theirs.shown(1)} | {ratio.shown(2)} | {aim} | {share} |"
            f" {agreement} |"
        )


def scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """(width, height), each at least 64 and a multiple of 32."""
    width, height = (max(64, round(side * factor / 32) * 32) for side in size)
    return width, height


# Networks.


def forward(segmenter: Segmenter) -> peers.Forward:
    """Our network as `Predictor.from_checkpoint` keeps and calls it."""
    core = for_prediction(copy.deepcopy(segmenter), torch.device("cpu")).core.to(memory_format=torch.channels_last)  # pyright: ignore
    return lambda images: core(images)["main"]


def network_row(
    title: str, ours: peers.Forward, size: tuple[int, int], others: dict[str, Any], aims: dict[str, float]
) -> Row:
    """A forward pass at (width, height); each of `others` is a `Forward`, or makes one of the images."""
    images = torch.randn(1, 3, size[1], size[0])
    stored = images.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def call(one: peers.Forward, given: Tensor) -> Tensor:
        return one(given)

    expected = call(ours, stored)
    row = Row(f"{title}, {size[0]}×{size[1]}", partial(call, ours, stored), {}, aims)
    row.flop = flop_of(lambda: ours(stored))
    for name, make in others.items():
        try:
            one = make(images)
        except peers.NotInstalled as reason:
            row.peers[name] = str(reason)
            continue
        row.peers[name] = partial(call, one, images)
        row.agreement[name] = f"{float((call(one, images) - expected).abs().max()):.0e}"
    return row


def segformer(variant: str, sizes: tuple[tuple[int, int], ...], aim: float, factor: float) -> Iterator[Row]:
    """SegFormer against transformers and the two engines."""
    try:
        ours, theirs = peers.segformer(variant)
    except peers.NotInstalled as reason:
        ours, theirs = peers.our_segformer(variant), None
        missing = str(reason)
    for size in sizes:

        def of_transformers(_: Tensor) -> peers.Forward:
            if theirs is None:
                raise peers.NotInstalled(missing)
            return theirs

        others = {
            "transformers": of_transformers,
            OPENVINO: partial(peers.in_openvino, ours),
            ONNXRUNTIME: partial(peers.in_onnxruntime, ours),
        }
        if factor < 1 and variant != "b0":  # quick: converting a large network takes longer than all else together
            others = {"transformers": of_transformers}
        aims = {"transformers": aim, OPENVINO: 1.0, ONNXRUNTIME: 1.0}
        yield network_row(f"SegFormer-{variant.upper()}", forward(ours), scaled(size, factor), others, aims)


def transformer(name: str, size: tuple[int, int], aim: float, factor: float, **options: Any) -> Iterator[Row]:
    """DAFormer or HRDA on MiT-B5 against a plain rendering."""
    size = scaled(size, factor)
    title = f"{ {'daformer': 'DAFormer', 'hrda': 'HRDA'}[name] }-B5"
    if name == "hrda":
        options["detail_crop"] = (size[1] // 2, size[1] // 2)
    try:
        ours, theirs = peers.with_plain(name, "b5", **options)
    except peers.NotInstalled as reason:
        ours, theirs = build(name, options={"variant": "b5", **options}).eval(), str(reason)

    def plain(_: Tensor) -> peers.Forward:
        if isinstance(theirs, str):
            raise peers.NotInstalled(theirs)
        return theirs

    yield network_row(title, forward(ours), size, {"plain PyTorch": plain}, {"plain PyTorch": aim})


def deeplab(factor: float) -> Iterator[Row]:
    """DeepLab-v2 against itself as PyTorch runs it when nothing is said."""
    ours = build("deeplab_v2").eval()
    others = {"plain PyTorch": lambda _: peers.contiguous(ours)}
    yield network_row("DeepLab-v2 R101", forward(ours), scaled((512, 256), factor), others, {"plain PyTorch": 1.2})


def depthwise(factor: float) -> Iterator[Row]:
    """DAFormer's dilated depth-wise convolutions against PyTorch's own kernel."""
    for channels, height, width, dilation in (
        (1024, 64, 128, 6),
        (1024, 64, 128, 18),
        (192, 40, 56, 3),
        (192, 40, 56, 6),
    ):
        layer = DilatedDepthwise(round(channels * factor), dilation).to(memory_format=torch.channels_last)  # pyright: ignore
        maps = torch.randn(1, round(channels * factor), height, width).to(memory_format=torch.channels_last)

        @torch.inference_mode()
        def call(convolve: Callable[[Tensor], Tensor], maps: Tensor = maps) -> Tensor:
            return convolve(maps)

        plain = partial(torch.nn.Conv2d.forward, layer)
        difference = float((call(layer) - call(plain)).abs().max())
        work = f"depth-wise 3×3, {round(channels * factor)} maps of {width}×{height}, dilation {dilation}"
        yield Row(
            work,
            partial(call, layer),
            {"PyTorch": partial(call, plain)},
            {"PyTorch": 1.0},
            0,
            {"PyTorch": f"{difference:.0e}"},
        )


# What comes after the network.


def pixels(factor: float) -> Iterator[Row]:
    """Labels, confidence and entropy at the photo's size, of logits at stride 4."""
    width, height = scaled((1024, 512), factor)
    coarse = torch.randn(1, 19, height // 16, width // 16) * 4
    logits = F.interpolate(coarse, size=(height // 4, width // 4), mode="bicubic")[0].contiguous()

    @torch.inference_mode()
    def ours() -> Prediction:
        return Prediction.of(Upsampled([View(logits)], (height, width), align_corners=False), CITYSCAPES19, 0.0)

    @torch.inference_mode()
    def plain() -> tuple[Tensor, Tensor, Tensor]:
        upsampled = F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        shares = upsampled.softmax(dim=0)
        confidence, labels = shares.max(dim=0)
        entropy = -(shares * shares.clamp_min(1e-30).log()).sum(dim=0) / np.log(19)
        return labels.to(torch.uint8), confidence, entropy

    found, (labels, confidence, entropy) = ours(), plain()
    wrong = float((torch.from_numpy(found.labels) != labels).double().mean())
    largest = max(
        float((torch.from_numpy(found.confidence) - confidence).abs().max()),
        float((torch.from_numpy(found.entropy) - entropy).abs().max()),
    )
    work = f"labels, confidence, entropy of {width}×{height}"
    said = f"{largest:.0e}, labels {wrong:.0e}"
    yield Row(work, ours, {"plain PyTorch": plain}, {"plain PyTorch": 3.0}, 0, {"plain PyTorch": said})


def png(factor: float) -> Iterator[Row]:
    """The planes of one pane as PNG."""
    pane = predict_pane(find_checkpoint("source_only_game_mit"), photo(factor), CITYSCAPES19, Settings())
    planes = list(pane.shown.values())

    def ours() -> int:
        return sum(len(encode_plane(each)) * 3 // 4 for each in planes)

    def pillow() -> int:
        files = [io.BytesIO() for _ in planes]
        for file, each in zip(files, planes, strict=True):
            Image.fromarray(each).save(file, "PNG")
        return sum(len(file.getvalue()) for file in files)

    said = f"{ours() / 1e6:.2f} MB against {pillow() / 1e6:.2f}"
    yield Row("the planes of a pane as PNG", ours, {"Pillow": pillow}, {"Pillow": 3.0}, 0, {"Pillow": said})


def photo(factor: float) -> Photo:
    """A rendered street of the size of the page."""
    return Photo(render("fog", 3, size=scaled((LONG_SIDE, LONG_SIDE // 2), factor)).photo, "fog.png", "")


def page(factor: float) -> Iterator[Row]:
    """Six small methods on one photo, with everything that is sent to the page."""
    street = photo(factor)
    checkpoints = [find_checkpoint(name) for name in SMALL_METHODS]
    predictors = [predictor(each, Settings()) for each in checkpoints]
    images = [each._image(street, 1.0, False) for each in predictors]

    def ours() -> int:
        shown = replace(street)  # a new photo, of which no resized pixels are kept
        readings = [
            Reading(each.name, each.name, "", "#000000", predict_pane(each, shown, CITYSCAPES19, Settings()))
            for each in checkpoints
        ]
        return len(json.dumps(bundle(shown, readings)))

    @torch.inference_mode()
    def bare() -> None:
        for each, image in zip(predictors, images, strict=True):
            each._logits(image)

    size = f"{street.size[0]}×{street.size[1]}"
    yield Row(f"six small methods on one photo of {size}, page included", ours, {BARE: bare}, {BARE: round(1 / 1.5, 2)})


def engines(factor: float) -> Iterator[Row]:
    """One photo through `sim2street predict`, by PyTorch, by the engines that it can use instead, and in bf16."""
    shown = photo(factor)
    for name in ("source_only_streets", "source_only_game_mit"):
        checkpoint = find_checkpoint(name)
        ours = Predictor.from_checkpoint(checkpoint, device="cpu")
        row = Row(f"prediction by {name}, {shown.size[0]}×{shown.size[1]}", partial(ours, shown.pixels), {})
        others: dict[str, Predictor] = {}
        for engine in ("openvino", "onnxruntime"):
            try:
                others[f"--engine {engine}"] = Predictor(
                    in_engine(checkpoint, engine), checkpoint.config.window, device="cpu"
                )
            except ConfigError as missing:
                row.peers[f"--engine {engine}"] = str(missing)
        if has_bf16("cpu"):
            others["--precision bf16"] = Predictor.from_checkpoint(checkpoint, device="cpu", precision="bf16")
        else:
            row.peers["--precision bf16"] = "not on this processor"
        for option, theirs in others.items():
            row.peers[option] = partial(theirs, shown.pixels)
            wrong = float((theirs(shown).labels != ours(shown).labels).mean())
            row.agreement[option] = f"labels {wrong:.0e}"
        yield row


def evaluation(factor: float) -> Iterator[Row]:
    """Evaluation on photos and labels of CamVid's classes, files included: as large as SegNet's copies, and four times that.

    The files are renders, whose noise is more than a photo's; where `SIM2STREET_CAMVID` names the data set, it is evaluated too.
    """
    for size in ((480, 360), (960, 720)):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            width, height = (round(side * factor) for side in size)
            write_camvid(root, (width, height), 3)
            yield _evaluated(CamVid(root, "val"), f"3 photos of {width}×{height} in CamVid's layout")
    if os.environ.get(CamVid.root_variable):
        camvid = open_dataset("camvid", None, "val")
        yield _evaluated(camvid, f"CamVid's {len(camvid)} val photos")


def _evaluated(dataset: SegmentationDataset, title: str) -> Row:
    predictor = Predictor.from_checkpoint(find_checkpoint("daformer_streets_to_cityscapes"))
    images = [predictor._image(dataset.read_photo(index), 1.0, False) for index in range(len(dataset))]

    @torch.inference_mode()
    def bare() -> None:
        for image in images:
            predictor._logits(image)

    return Row(f"evaluation of {title}", partial(evaluate, predictor, dataset), {BARE: bare}, {BARE: 0.9})


def write_camvid(root: Path, size: tuple[int, int], count: int) -> None:
    """Rendered streets as files in CamVid's layout (SegNet's 11 classes)."""
    space = CamVid.labels
    for folder in ("val", "valannot"):
        (root / folder).mkdir()
    for index in range(count):
        scene = render("overcast", index, size=size)
        labels = space.relabel(scene.labels, CITYSCAPES19)
        Image.fromarray(scene.photo).save(root / "val" / f"{index}.png")
        Image.fromarray(np.where(labels == 255, 11, labels).astype(np.uint8)).save(root / "valannot" / f"{index}.png")
    listed = [f"val/{index}.png valannot/{index}.png" for index in range(count)]
    (root / "val.txt").write_text("\n".join(listed))


def confusion(factor: float) -> Iterator[Row]:
    """A confusion matrix of one Cityscapes photo."""
    width, height = scaled((2048, 1024), factor)
    scenes = [render("game", index, size=(width, height)).labels for index in (0, 1)]
    labels, predicted = (np.where(each == 255, 0, each).astype(np.uint8) for each in scenes)

    def bincount() -> NDArray[np.int64]:
        scored = labels < 19
        pairs = 19 * labels[scored].astype(np.int64) + predicted[scored]
        return np.bincount(pairs, minlength=361).reshape(19, 19)

    def histogram() -> NDArray[np.float32]:
        return cv2.calcHist([labels, predicted], [0, 1], None, [19, 19], [0, 19, 0, 19])

    ours = partial(confusion_matrix, labels, predicted, 19)
    assert np.array_equal(ours(), bincount())
    assert np.array_equal(ours(), histogram())
    aims = {"numpy bincount": 3.0, "OpenCV calcHist": 1.0}
    others: dict[str, Call | str] = {"numpy bincount": bincount, "OpenCV calcHist": histogram}
    yield Row(f"confusion matrix, {width}×{height}", ours, others, aims, 0, dict.fromkeys(aims, "equal"))


def training(name: str, factor: float) -> Iterator[Row]:
    """One training step against a plain rendering of the authors'."""
    with steps.both(name) as (ours, plain, crops):
        yield Row(f"{name} step, {crops}", ours, {"plain PyTorch": plain}, {"plain PyTorch": 1.3})


def listing(_: float) -> Iterator[Row]:
    """A command that only lists, in a process of its own."""

    def start(*arguments: str) -> None:
        command = [sys.executable, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=child_environment())

    ours, theirs = partial(start, "-m", "sim2street", "checkpoints"), partial(start, "-c", "import torch, timm")
    yield Row("`sim2street checkpoints`, a process", ours, {"importing torch and timm": theirs})


BARE = "its networks' bare forward passes"

B0_SIZES = ((512, 256), (1024, 512))
WORK: tuple[Work, ...] = (
    Work("SegFormer-B0", lambda factor: segformer("b0", B0_SIZES, 2.8, factor)),
    Work("SegFormer-B5", lambda factor: segformer("b5", B0_SIZES[:1], 2.0, factor)),
    Work("DAFormer-B5", lambda factor: transformer("daformer", (512, 256), 1.4, factor)),
    Work("HRDA-B5", lambda factor: transformer("hrda", (512, 256), 1.6, factor)),
    Work("DeepLab-v2 R101", deeplab),
    Work("depth-wise 3×3 convolution", depthwise),
    Work("labels, confidence, entropy", pixels),
    Work("the planes of a pane as PNG", png),
    Work("six small methods on one photo, page included", page),
    Work("prediction by PyTorch, by --engine openvino and onnxruntime, and with --precision bf16", engines),
    Work("evaluation of photos in CamVid's layout", evaluation),
    Work("confusion matrix", confusion),
    Work("ADVENT step", lambda factor: training("ADVENT", factor)),
    Work("DAFormer step", lambda factor: training("DAFormer", factor)),
    Work("`sim2street checkpoints`, a process", listing),
)


if __name__ == "__main__":
    sys.exit(run(main))
