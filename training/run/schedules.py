"""Learning-rate schedules: pure functions of the step, so that resuming needs no state."""

from __future__ import annotations


def poly(
    step: int,
    horizon: int,
    power: float = 0.9,
    warm_up: int = 0,
    warm_up_ratio: float = 1e-6,
    hold: int = 0,
    *,
    warm_up_alone: bool = False,
) -> float:
    """Factor on the base rate at `step` (counted from 0).

    (1 - step/horizon)^power, the DeepLab schedule; ADVENT's horizon is 250,000 although it stops at 120,000. During
    the first `warm_up` steps the factor is also scaled linearly from `warm_up_ratio` to 1. The decay starts after `hold`
    steps at 1 (CycleGAN holds for half of its epochs; a `hold` of the horizon or more means no decay). With
    `warm_up_alone` there is no decay during the warm-up, whose last step is at 1; afterwards the decay continues as if it
    had started at step 0 (VFM-UDA: 1 at step 1499, 0.9625 at 1500).
    """
    if warm_up_alone and step < warm_up:
        return warm_up_ratio + (1.0 - warm_up_ratio) * step / max(1, warm_up - 1)
    factor = 1.0 if step < hold else max(0.0, 1.0 - (step - hold) / max(1, horizon - hold)) ** power
    if step < warm_up and not warm_up_alone:
        factor *= 1.0 - (1.0 - step / warm_up) * (1.0 - warm_up_ratio)
    return factor
