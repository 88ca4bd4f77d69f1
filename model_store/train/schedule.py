"""The rate of learning at each step: pure functions from a step to a share of the peak."""

import math
from typing import Literal

Schedule = Literal["one-cycle", "cosine"]

_LOWEST = 0.04
"""Where one-cycle begins, and a thousandth of it is where it ends (Smith and Topin, 2018)."""


def share(step: int, steps: int, *, schedule: Schedule, warm_up: float) -> float:
    """Of the peak rate, at the step `step` of `steps`, counted from 0.

    one-cycle: up from a twenty-fifth and down to nothing, along cosines (Smith and Topin, Super-Convergence, 2018).
    cosine: up from nothing along a line, then down to a tenth (Loshchilov and Hutter, SGDR, 2017).

    Args:
        step: which.
        steps: of the training.
        schedule: which of the two.
        warm_up: the share of the steps on which it goes up.
    """
    rising = warm_up * steps
    if step < rising:
        done = (step + 1) / (rising + 1)
        return done if schedule == "cosine" else _between(_LOWEST, 1.0, done)
    done = (step - rising) / max(1.0, steps - rising)
    return _between(1.0, 0.1 if schedule == "cosine" else _LOWEST / 1000, done)


def _between(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
