"""Prediction: what one segmenter says of one photo, made one way only so that its parts can never disagree.

The network answers at a stride of its own; the probabilities of a 12-megapixel photo would take a gigabyte. So they are
made a few rows at a time, small enough for the processor's cache, and labels, confidence and entropy are taken from
each strip before the next. Whoever wants all probabilities asks for them. Where Numba is installed, compiled code does
the same in an eighth of the time; PyTorch computes the first photos, until loading that code has become worth its while.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sim2street.models.compiled_code import COMPILED, compiled_code
from sim2street.models.label_space import LabelSpace, Members

STRIP: Final = 1 << 13
"""Pixels handled at a time on a processor: 19 classes of them fit into its second-level cache."""
ACCELERATOR_STRIP: Final = 1 << 20
"""Pixels handled at a time on a graphics card, where every call costs more than its arithmetic."""
WORTH_LOADING: Final = 3_000_000
"""Pixels that PyTorch computes before compiled code is loaded: they take it half a second, as loading does."""
_computed = 0  # pixels of this process that PyTorch has computed where compiled code could have


class Probabilities(Protocol):
    """Where probabilities come from, rows by rows."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of all rows together."""
        ...

    @property
    def device(self) -> torch.device:
        """Where `rows` computes."""
        ...

    def rows(self, chosen: slice) -> Tensor:
        """(C, n, W) float32, summing to one over C, of the chosen rows; the caller does not write into it."""
        ...


@dataclass(frozen=True, eq=False)
class Given:
    """Probabilities that exist already, (C, H, W) float32."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        count, height, width = self.values.shape
        return count, height, width

    @property
    def device(self) -> torch.device:
        """Where the values lie."""
        return self.values.device

    def rows(self, chosen: slice) -> Tensor:
        """A view."""
        return self.values[:, chosen]


@dataclass(frozen=True, eq=False)
class View:
    """What a network said of the photo at one size.

    Attributes:
        logits: (C, h, w) float32.
        flipped: whether it saw the mirrored photo.
        is_share: whether these are no logits but probabilities or scores of at least 0 already, which are divided by
            their sum.
    """

    logits: Tensor
    flipped: bool = False
    is_share: bool = False


@dataclass(frozen=True, eq=False)
class Upsampled:
    """Softmax of logits that are upsampled to the photo's size; the mean where there are several views.

    Attributes:
        views: at least one; all of C classes.
        size: (height, width) of the photo.
        align_corners: how logits are upsampled, see `Segmenter`.
    """

    views: Sequence[View]
    size: tuple[int, int]
    align_corners: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.views[0].logits.shape[0], *self.size

    @property
    def device(self) -> torch.device:
        """Where the logits lie."""
        return self.views[0].logits.device

    def rows(self, chosen: slice) -> Tensor:
        """Upsample the chosen rows of every view, softmax, average."""
        mean: Tensor | None = None
        for view, widened in zip(self.views, self._widened, strict=True):
            upsampled = self._upsampled(widened, chosen)
            probabilities = upsampled.div_(upsampled.sum(dim=0, keepdim=True)) if view.is_share else softmax_(upsampled)
            if view.flipped:
                probabilities = probabilities.flip(-1)
            mean = probabilities if mean is None else mean.add_(probabilities)
        assert mean is not None
        return mean if len(self.views) == 1 else mean.div_(len(self.views))

    @cached_property
    def _widened(self) -> list[Tensor]:
        """Each view's logits, (C, h, W): upsampled to the photo's width alone, which is four times less than both ways."""
        return [self._widen(view.logits) for view in self.views]

    def _widen(self, logits: Tensor) -> Tensor:
        width = self.size[1]
        if logits.shape[2] == width:
            return logits.contiguous()
        left, right, share = neighbours(logits.shape[2], width, self.align_corners, slice(None), logits.device)
        columns = logits.permute(2, 0, 1).contiguous()  # whole columns are copied, which processors do quickly
        widened = columns[left].lerp_(columns[right], share[:, None, None])
        return widened.permute(1, 2, 0).contiguous()

    def _upsampled(self, widened: Tensor, chosen: slice) -> Tensor:
        """(C, h, W) -> (C, n, W), the rows that bilinear upsampling to the photo's size gives there; a copy."""
        if widened.shape[1] == self.size[0]:
            return widened[:, chosen].clone()
        above, below, share = neighbours(widened.shape[1], self.size[0], self.align_corners, chosen, widened.device)
        return widened[:, above].lerp_(widened[:, below], share[:, None])


@dataclass(frozen=True, eq=False)
class Prediction:
    """Per-pixel answer at the upright photo's size.

    Attributes:
        labels: (H, W) uint8, the most probable class of `space`.
        confidence: (H, W) float32 in [0,1], that class's probability.
        space: what the labels are.
        seconds: wall-clock time from photo to all of these, without loading the network.
        source: makes the network's probabilities on demand.
        members: for each class of `space` the network's that it merges; None where they are the network's own.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    space: LabelSpace
    seconds: float
    source: Probabilities
    members: Members | None = None
    _entropy: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        source: Probabilities,
        own: LabelSpace,
        seconds: float,
        space: LabelSpace | None = None,
        *,
        with_entropy: bool = True,
    ) -> Prediction:
        """Derive labels, confidence and entropy in one pass, on the device that the source computes on.

        Args:
            source: probabilities of the classes of `own`.
            own: the network's classes.
            seconds: taken so far.
            space: merges classes by summing their probabilities before the best is taken. One that only leaves classes
                out (SYNTHIA's) changes nothing: it is scored within those of `own`.
            with_entropy: False leaves it to whoever asks for it, who rarely does where labels are scored.

        Raises:
            ValueError: the first axis is not the number of classes of `own`.
            LabelError: `space` is not made of the classes of `own`.
        """
        if source.shape[0] != own.count:
            raise ValueError(f"probabilities have shape {source.shape}; {own.name} needs ({own.count}, H, W)")
        members = None if space is None or space.is_part_of(own) else space.require_members(own)
        shown = own if space is None or members is None else space
        found = _by_compiled_code(source, members, 1, slice(None), slice(None), with_entropy)
        if found is not None:
            return cls(found[0][0], found[1][0], shown, seconds, source, members, found[2])
        _, height, width = source.shape
        labels = torch.empty((height, width), dtype=torch.uint8, device=source.device)
        confidence = torch.empty((height, width), dtype=torch.float32, device=source.device)
        entropy = torch.empty_like(confidence) if with_entropy else None
        for chosen in strips(source):
            strip = source.rows(chosen)
            if entropy is not None:
                entropy[chosen] = normalised_entropy(strip)
            labels[chosen], confidence[chosen] = likeliest(strip if members is None else merged(strip, members))
        planes = (labels.cpu().numpy(), confidence.cpu().numpy())
        return cls(*planes, shown, seconds, source, members, None if entropy is None else entropy.cpu().numpy())

    @classmethod
    def from_probabilities(
        cls,
        probabilities: NDArray[np.float32] | Tensor,
        own: LabelSpace,
        seconds: float,
        space: LabelSpace | None = None,
    ) -> Prediction:
        """`of` (C, H, W) probabilities that exist already.

        Raises:
            ValueError: they have not three axes, or see `of`.
        """
        if probabilities.ndim != 3:
            raise ValueError(
                f"probabilities have shape {tuple(probabilities.shape)}; {own.name} needs ({own.count}, H, W)"
            )
        if not isinstance(probabilities, Tensor):  # of an array as the rest of the project has them nothing is copied
            probabilities = torch.from_numpy(np.require(probabilities, np.float32, ["C", "W"]))
        return cls.of(Given(probabilities.detach().float()), own, seconds, space)

    @cached_property
    def entropy(self) -> NDArray[np.float32]:
        """(H, W) float32 in [0,1]: Shannon entropy / log C over the C classes of the network, before any are merged.

        0 is certain, 1 is uniform. Computed now if it was not with the labels.
        """
        if self._entropy is not None:
            return self._entropy
        found = _by_compiled_code(self.source, None, 1, slice(None), slice(None), True)
        if found is not None and found[2] is not None:
            return found[2]
        return torch.cat([normalised_entropy(self.source.rows(chosen)) for chosen in strips(self.source)]).cpu().numpy()

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """(C, H, W) float32 over the network's own classes, summing to one: 76 MB a megapixel, so made when asked for."""
        if isinstance(self.source, Given):
            return self.source.values.cpu().numpy()
        whole = torch.empty(self.source.shape, dtype=torch.float32)
        for chosen in strips(self.source):
            whole[:, chosen] = self.source.rows(chosen).cpu()
        return whole.numpy()

    def candidates(self, count: int, stride: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The likeliest classes of `space` at every `stride`-th pixel both ways, from the middle of the first cell on.

        Returns:
            (count, h, w) classes, most probable first and of equals the lower, and their probabilities.
        """
        _, height, width = self.source.shape
        first, left = min(stride // 2, height - 1), min(stride // 2, width - 1)  # a photo may be one pixel high
        rows, columns = slice(first, None, stride), slice(left, None, stride)
        compiled = _by_compiled_code(self.source, self.members, count, rows, columns, False)
        if compiled is not None:
            return compiled[0], compiled[1].clip(0)
        step = _strip_rows(self.source) * stride
        classes, shares = [], []
        for top in range(first, height, step):
            strip = self.source.rows(slice(top, min(top + step, height), stride))[..., columns]
            # A copy either way, since what was chosen is struck out.
            strip = strip.clone() if self.members is None else merged(strip, self.members)
            found = []
            for _ in range(count):
                found.append(likeliest(strip))
                strip.scatter_(0, found[-1][0][None].long(), -1)
            classes.append(torch.stack([label for label, _ in found]))
            shares.append(torch.stack([share for _, share in found]))
        # Of fewer classes than are asked for, the last ones are those that were struck out.
        return torch.cat(classes, dim=1).cpu().numpy(), torch.cat(shares, dim=1).clamp_min_(0).cpu().numpy()


def _pays(pixels: int) -> bool:
    """Whether these pixels are for compiled code: it is loaded, or they complete what makes it worth loading."""
    global _computed
    if COMPILED in sys.modules:
        return True
    _computed += pixels
    return _computed >= WORTH_LOADING


def _by_compiled_code(
    source: Probabilities, members: Members | None, count: int, rows: slice, columns: slice, with_entropy: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32] | None] | None:
    """The likeliest classes at the chosen pixels, and the entropy if asked for; see `compiled.likeliest`.

    None where PyTorch does it: on an accelerator, of several views or of averaged windows, without Numba, or before
    loading it is worth its while. Its labels differ only where two classes are equally likely to five digits.
    """
    if not isinstance(source, Upsampled) or source.device.type != "cpu" or len(source.views) > 1:
        return None
    view, (height, width) = source.views[0], source.size
    if view.flipped or view.is_share or not _pays(len(range(height)[rows]) * len(range(width)[columns])):
        return None
    code = compiled_code()
    if code is None:
        return None
    logits = view.logits.numpy()
    shown = tuple((label,) for label in range(len(logits))) if members is None else members
    group = _groups(shown, len(logits))
    if group is None:
        return None
    vertical = neighbours(logits.shape[1], height, source.align_corners, rows, source.device)
    horizontal = neighbours(logits.shape[2], width, source.align_corners, columns, source.device)
    where = [tuple(part.numpy() for part in each) for each in (vertical, horizontal)]
    return code.likeliest(logits, *where, group, len(shown), count, torch.get_num_threads(), with_entropy)


def _groups(members: Members, classes: int) -> NDArray[np.int64] | None:
    """(C,) the class that each class becomes, one more than the last for none; None where one becomes several."""
    group = np.full(classes, len(members))
    for label, merging in enumerate(members):
        for member in merging:
            if group[member] < len(members):
                return None
            group[member] = label
    return group


def merged(probabilities: Tensor, members: Members) -> Tensor:
    """(C, ...) probabilities -> (K, ...) of coarser classes, each the sum of its members; 0 where it has none.

    Classes that belong to none lose their mass, so that the sums do not always add up to one.
    """
    sums = probabilities.new_zeros((len(members), *probabilities.shape[1:]))
    for total, group in zip(sums, members, strict=True):
        for member in group:
            total.add_(probabilities[member])
    return sums


def softmax_(logits: Tensor) -> Tensor:
    """Softmax over the first axis in place; on a processor `torch.softmax` takes twice as long along that axis."""
    logits -= logits.amax(dim=0, keepdim=True)
    logits.exp_()
    logits /= logits.sum(dim=0, keepdim=True)
    return logits


def likeliest(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """(C, ...) -> the most probable class, (...) uint8 and of equals the first, and its probability, (...) float32."""
    best = probabilities.amax(dim=0)
    # `max` and `argmax` along the first axis take three to ten times as long on a processor as these byte maps.
    count = probabilities.shape[0]
    ranks = torch.arange(count, 0, -1, dtype=torch.uint8, device=probabilities.device)
    ranks = ranks.view(-1, *[1] * best.ndim)
    found = (probabilities == best).view(torch.uint8).mul_(ranks).amax(dim=0)
    return (count - found).remainder_(count), best  # NaN equals nothing, and counts as the first class


def normalised_entropy(probabilities: Tensor) -> Tensor:
    """(C, ...) probabilities -> (...) Shannon entropy / log C, in [0,1]."""
    # p log p -> 0 as p -> 0; the clamp only keeps the logarithm finite. torch.special.entr takes three times as long.
    nats = probabilities.clamp_min(1e-30).log_().mul_(probabilities).sum(dim=0).neg_()
    return nats.div_(math.log(probabilities.shape[0])).clamp_(0, 1).add_(0.0)  # no -0


def neighbours(
    length: int, size: int, align_corners: bool, chosen: slice, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Where bilinear upsampling from `length` to `size` cells reads for the chosen outputs.

    Returns:
        Two (n,) int64 indices of input cells and the (n,) float32 share in [0,1] of the second, as
        `torch.nn.functional.interpolate` defines them.
    """
    places = torch.arange(size, dtype=torch.float32)[chosen]
    if align_corners:
        places = places * ((length - 1) / (size - 1) if size > 1 else 0.0)
    else:
        places = ((places + 0.5) * (length / size) - 0.5).clamp_min_(0)
    first = places.long().clamp_max_(length - 1)
    second = (first + 1).clamp_max_(length - 1)
    return first.to(device), second.to(device), (places - first).to(device)


def strips(source: Probabilities) -> list[slice]:
    """All rows, some at a time."""
    height, rows = source.shape[1], _strip_rows(source)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _strip_rows(source: Probabilities) -> int:
    pixels = STRIP if source.device.type == "cpu" else ACCELERATOR_STRIP
    return max(1, pixels // source.shape[2])
