"""3x3 convolutions with a quarter of the multiplications, for prediction on a processor.

Winograd's minimal filtering (Lavin and Gray, CVPR 2016, arXiv:1509.09308, Sec. 4.3, F(4x4, 3x3)): a 4x4 tile of outputs needs
144 multiplications per pair of channels by definition, and 36 if a 6x6 tile of inputs and the weights are transformed first.
The transforms are additions, which pay from some 100 channels on. Outputs differ from those of a direct convolution by some
1e-4 of their standard deviation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.networks.inference import on_processor
from sim2street.models.networks.onednn import ConvolutionOf, Packed, linear

TILE: Final = 4
"""Side of a tile of outputs."""
SEEN: Final = TILE + 2
"""Side of the tile of inputs that it depends on."""
TILES: Final = 128
"""Tiles multiplied at a time: enough for quick products, few enough for a processor's caches."""
FEWEST: Final = 48
"""Tiles below which reading four times as many weights takes longer than the multiplications that they save."""
VALUES: Final = 1 << 19
"""Values of inputs transformed at a time, at most, where a row of tiles has no more."""
CHANNELS: Final = (192, 96)
"""Fewest channels of inputs and outputs. Somewhat fewer would gain time as well, but too little to justify four times the
memory for weights."""
# G of the paper for the points 0, 1, -1, 2, -2 and infinity.
OF_WEIGHTS: Final = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def suits(convolution: nn.Conv2d) -> bool:
    """Whether a convolution is 3x3 of stride 1, keeps the size of its maps, and has enough channels."""
    dilation = convolution.dilation
    return (
        convolution.kernel_size == (3, 3)
        and convolution.stride == (1, 1)
        and convolution.groups == 1
        and convolution.padding == dilation
        and dilation[0] == dilation[1]
        and convolution.padding_mode == "zeros"
        and convolution.in_channels >= CHANNELS[0]
        and convolution.out_channels >= CHANNELS[1]
    )


class WinogradConv2d(ConvolutionOf):
    """A convolution that `suits`, with transformed weights beside its own: (B, C, h, w) -> (B, D, h, w)."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        self.products = tuple(Packed(each) for each in transformed(self.weight))

    def forward(self, input: Tensor) -> Tensor:
        """Convolve; where a graph is recorded, with gradients, in bf16 and on accelerators by definition."""
        tiles = input.shape[0] * input.shape[2] * input.shape[3] // TILE**2
        if not on_processor(input) or tiles < FEWEST:
            return super().forward(input)
        return convolved(input, self.products, self.out_channels, self.bias, self.dilation[0])


@torch.no_grad()
def transformed(weight: Tensor) -> Tensor:
    """(D, C, 3, 3) weights -> (36, D, C), computed in fp64 and rounded once."""
    points = torch.tensor(OF_WEIGHTS, dtype=torch.float64, device=weight.device)
    found = (points @ weight.double() @ points.T).to(weight.dtype)
    return found.permute(2, 3, 0, 1).flatten(0, 1).contiguous()


def convolved(
    maps: Tensor, weights: Sequence[Tensor | Packed], channels: int, bias: Tensor | None, dilation: int
) -> Tensor:
    """Convolve maps, surrounded by zeros, with transformed weights.

    Args:
        maps: (B, C, h, w).
        weights: 36 of (D, C), see `transformed`.
        channels: D.
        bias: (D,), or None.
        dilation: every dilation-th row and column by itself is a map that is convolved without dilation.

    Returns:
        (B, D, h, w), a pixel's channels side by side in memory.
    """
    batch, seen, height, width = maps.shape
    down, across = (-(-side // (dilation * TILE)) for side in (height, width))
    right, bottom = ((cells * TILE + 1) * dilation - side for cells, side in ((across, width), (down, height)))
    parts = F.pad(maps.permute(0, 2, 3, 1), (0, 0, dilation, right, dilation, bottom))
    # (B, row of cells, row in it, column of cells, column in it, C) -> parts first, so that all are one batch.
    parts = parts.unflatten(1, (-1, dilation)).unflatten(3, (-1, dilation)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
    outputs = maps.new_empty(len(parts), down, TILE, across, TILE, channels)
    for group in _groups(len(parts), down, across, seen):
        tiles = sum(chunk.tiles for chunk in group)
        strip = maps.new_empty(SEEN * SEEN, tiles, seen)
        first = 0
        for chunk in group:
            _transform_tiles(parts[chunk.parts], chunk, strip[:, first : first + chunk.tiles], across)
            first += chunk.tiles
        products = [linear(each, layer) for each, layer in zip(strip, weights, strict=True)]
        first = 0
        for chunk in group:
            _transform_products(
                [each[first : first + chunk.tiles] for each in products], outputs[chunk.parts, chunk.rows]
            )
            first += chunk.tiles
    result = outputs.view(batch, dilation, dilation, down * TILE, across * TILE, -1)
    result = result.permute(0, 3, 1, 4, 2, 5).flatten(1, 2).flatten(2, 3)[:, :height, :width]
    return (result if bias is None else result + bias).permute(0, 3, 1, 2)


class _Chunk(NamedTuple):
    """Tiles that are transformed at a time: some rows of them in some parts."""

    parts: slice
    rows: slice
    tiles: int


def _groups(parts: int, down: int, across: int, channels: int) -> Iterator[list[_Chunk]]:
    """Chunks of at most `VALUES`, or a row, in groups of at least `TILES` where there are as many."""
    rows = max(1, VALUES // (across * channels * TILE))
    together = max(1, rows // down)
    rows = min(rows, down)
    group: list[_Chunk] = []
    for part in range(0, parts, together):
        for row in range(0, down, rows):
            chosen, own = slice(part, min(part + together, parts)), slice(row, min(row + rows, down))
            group.append(_Chunk(chosen, own, (chosen.stop - chosen.start) * (own.stop - own.start) * across))
            if sum(chunk.tiles for chunk in group) >= TILES:
                yield group
                group = []
    if group:
        yield group


def _transform_tiles(parts: Tensor, chunk: _Chunk, out: Tensor, across: int) -> None:
    """Write the (36, T, C) transformed inputs of a chunk of padded (N, H, W, C) parts."""
    top, bottom = chunk.rows.start * TILE, (chunk.rows.stop - 1) * TILE + 1
    half = parts.new_empty(SEEN, len(parts), chunk.rows.stop - chunk.rows.start, *parts.shape[2:])
    _transform([parts[:, top + i : bottom + i : TILE] for i in range(SEEN)], half.unbind())
    last = (across - 1) * TILE + 1
    for row, tiles in zip(half, out.unflatten(0, (SEEN, SEEN)), strict=True):
        columns = [row[:, :, j : j + last : TILE] for j in range(SEEN)]
        _transform(columns, tiles.unflatten(1, columns[0].shape[:3]).unbind())


def _transform_products(products: list[Tensor], out: Tensor) -> None:
    """Write (N, rows, 4, across, 4, D) outputs of 36 products (T, D)."""
    shape = (len(out), out.shape[1], out.shape[3])
    given = [each.unflatten(0, shape) for each in products]
    half = out.new_empty(SEEN, TILE, *given[0].shape)
    for i in range(SEEN):
        _transform_back(given[i * SEEN : (i + 1) * SEEN], half[i].unbind())
    for j in range(TILE):
        _transform_back(half[:, j].unbind(), out[:, :, :, :, j].unbind(2))


def _transform(given: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Write B' d of six values d: 12 passes over them instead of the 23 of a product with the matrix."""
    even, odd = given[4] - given[2], given[3] - given[1]
    torch.add(torch.sub(given[0], given[2], out=out[0]).mul_(4), even, out=out[0])
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.sub(given[5], given[3], out=out[5]).sub_(odd, alpha=4)
    torch.sub(given[4], given[2], alpha=4, out=even)
    torch.sub(given[3], given[1], alpha=4, out=odd)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])


def _transform_back(given: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Write A' m of six products m."""
    even, odd = given[1] + given[2], given[1] - given[2]
    twice, odd_twice = given[3] + given[4], given[3] - given[4]
    torch.add(odd, odd_twice, alpha=2, out=out[1])
    torch.add(even, twice, alpha=4, out=out[2])
    torch.add(even.add_(twice), given[0], out=out[0])
    torch.add(odd.add_(odd_twice, alpha=8), given[5], out=out[3])
