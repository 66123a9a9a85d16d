"""ADVENT: the entropy of a street before and after adaptation, which its discriminator compares."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2street.app.content import charts, figures
from sim2street.app.content.demonstrations.parts import (
    STREET,
    Choice,
    Demonstration,
    Picture,
    Request,
    Shown,
    change,
    heat,
)
from sim2street.app.content.demonstrations.readers import checkpoint_of, predicted, start_of
from sim2street.app.content.method_display import display_of
from sim2street.app.content.panes import Pane
from sim2street.app.content.streets import rendered_scene
from sim2street.training.datasets.street_scenes import STYLES

BINS: Final = 40


def show(request: Request) -> Shown:
    """Entropy maps of the checkpoint that ADVENT started from and of ADVENT's, and their distributions."""
    after = checkpoint_of(request, "advent")
    before = start_of(after, request.checkpoints)
    titles = figures.unique_titles([before, after])
    scene = rendered_scene(str(request.values["look"]), request.count("street"))
    panes = [predicted(request, each, scene) for each in (before, after)]
    size = scene.photo.pixels.shape[1::-1]
    pictures = [Picture("Photo", scene.photo.pixels, scene.photo.name)]
    means = []
    for when, checkpoint, pane in zip(("before", "after"), (before, after), panes, strict=True):
        assert pane.entropy is not None  # a checkpoint's prediction has probabilities
        means.append(pane.mean_entropy or 0.0)
        said = f"{titles[checkpoint.name]}: mean {means[-1]:.3f}"
        pictures.append(Picture(f"Entropy {when}", heat(pane.entropy, (size[0], size[1])), said))
    difference = entropy_of(panes[1]) - entropy_of(panes[0])
    pictures.append(Picture("Change", change(difference), "teal: more certain than before; red: less certain"))
    words = (
        f"The mean entropy of this street goes from {means[0]:.3f} to **{means[1]:.3f}**. 0 is certain, 1 undecided between"
        f" all classes. {titles[after.name]} was adapted to images other than this one, so a change here is what it"
        " learned, not what it saw."
    )
    chart = charts.distributions(
        [distribution(pane) for pane in panes],
        [titles[each.name] for each in (before, after)],
        unit="entropy",
        colours=[display_of(each.config.method).colour for each in (before, after)],
    )
    return Shown(words, tuple(pictures), (chart,))


def entropy_of(pane: Pane) -> NDArray[np.float32]:
    """Entropy (H, W) float32 in [0,1]."""
    assert pane.entropy is not None
    return (pane.entropy / 255).astype(np.float32)


def distribution(pane: Pane) -> list[float]:
    """Share of the pixels in each of `BINS` equal bins of entropy."""
    counts, _ = np.histogram(entropy_of(pane), bins=BINS, range=(0, 1))
    return (counts / counts.sum()).tolist()


DEMONSTRATION: Final = Demonstration(
    title="Entropy of a street before and after",
    controls=(Choice("look", "Look", tuple(STYLES), "fog"), STREET),
    show=show,
)
