"""Source-only: supervised training on labelled source images, the baseline that every paper starts from.

segmenter      CE(S(x_s), y_s) + auxiliary_weight · CE(S_aux(x_s), y_s)

As in the released code of AdaptSegNet and ADVENT: logits are upsampled to the input size before the cross-entropy,
which averages over valid pixels. The oracle is this method with the target's labelled set as one more source, and
domain randomisation is this method on randomised renders with strong augmentation: recipes, not methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sim2street.models.segmenter import Segmenter
from sim2street.training.methods.base import (
    SUPERVISION_FORMULA,
    SUPERVISION_TERM,
    LossTerm,
    Method,
    MethodEntry,
    MethodOptions,
    Update,
    supervision,
)
from sim2street.training.methods.diagram import Arrow, Diagram, Node
from sim2street.training.pair import DomainPair


class SourceOnlyOptions(MethodOptions):
    """No options beyond those of all methods."""


class SourceOnly(Method):
    """Minimise the source cross-entropy; target images are ignored."""

    def __init__(self, segmenter: Segmenter, options: SourceOnlyOptions) -> None:
        super().__init__(segmenter)
        self.options = options

    def step(self, pair: DomainPair) -> Iterator[Update]:
        """One supervised update."""
        output = self.segmenter(pair.source_images)
        yield Update(supervision(output, pair, self.options), step=("segmenter",))


ENTRY: Final = MethodEntry(
    name="source_only",
    method=SourceOnly,
    options=SourceOnlyOptions,
    title="Source-only",
    colour="#7a7f8c",
    paper="",
    idea="Train on labelled source images alone.",
    adapts=False,
    explanation="The network never sees a target image. The accuracy it loses there is the gap that the other methods"
    " try to close. The same training with the target's labels as a second source is the oracle.",
    terms=(LossTerm(*SUPERVISION_TERM, supervision, formula=SUPERVISION_FORMULA),),
    diagram=Diagram(
        {
            "source": Node("source image", 0, 0, "source image"),
            "network": Node("network", 1, 0, "trained"),
            "prediction": Node("prediction", 2, 0, "source labels"),
            "loss": Node("cross-entropy with its labels", 3, 0, "measured"),
            "target": Node("target images stay unseen", 0, 1, "unused image"),
        },
        (Arrow("source", "network"), Arrow("network", "prediction"), Arrow("prediction", "loss")),
    ),
)
