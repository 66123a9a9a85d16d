"""Learning-rate schedules: pure functions of the step, so that resuming needs no state."""

from __future__ import annotations


def poly(
    step: int, horizon: int, power: float = 0.9, warm_up: int = 0, warm_up_ratio: float = 1e-6, hold: int = 0
) -> float:
    """Factor on the base rate at `step` (counted from 0).

    (1 - step/horizon)^power, the DeepLab schedule; ADVENT's horizon is 250,000 although it stops at 120,000. During
    the first `warm_up` steps the factor is further scaled from `warm_up_ratio` linearly to 1. The decay begins after
    `hold` steps at 1 (CycleGAN holds for half of its epochs; the horizon and beyond is no decay at all).
    """
    factor = 1.0 if step < hold else max(0.0, 1.0 - (step - hold) / max(1, horizon - hold)) ** power
    if step < warm_up:
        factor *= 1.0 - (1.0 - step / warm_up) * (1.0 - warm_up_ratio)
    return factor
