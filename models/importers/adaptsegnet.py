"""AdaptSegNet (Tsai et al., CVPR 2018): ADVENT's layout, but the authors' forward pass reaches only two branches.

The released files contain all four branches of each classifier. The authors' code returns from inside the loop that adds
them up, so only dilations 6 and 12 were trained and count; with all four the score collapses.
"""

from __future__ import annotations

from typing import Final

from sim2street.models.importers.advent import BACKBONE, plan_of_two_levels, recognises
from sim2street.models.importers.family import Family, Plan, Weights
from sim2street.models.importers.keys import LeftOut, rename_by

UNREACHED: Final = LeftOut("branches of dilation 18 and 24, which AdaptSegNet's code never reaches")

rename = rename_by(
    {
        **BACKBONE,
        r"layer5\.conv2d_list\.([01])": r"aux.branches.\1",
        r"layer6\.conv2d_list\.([01])": r"main.branches.\1",
        r"layer[56]\.conv2d_list\.[23]": UNREACHED,
    }
)


def plan(weights: Weights) -> Plan:
    """Plan the import; two branches of both classifiers count."""
    return plan_of_two_levels(weights, "AdaptSegNet", rename, (6, 12))


ADAPTSEGNET: Final = Family(
    title="AdaptSegNet",
    year=2018,
    method="adaptsegnet",
    licence="non-commercial research only",
    page="https://github.com/wasidennis/AdaptSegNet",
    recognises=recognises,
    plan=plan,
)
