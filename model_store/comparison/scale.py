"""The range of a measure in, positions on an axis with its ticks out. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NICE = (1.0, 2.0, 5.0, 10.0)
"""Steps between ticks, times a power of ten."""

DENSE = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Ticks of a logarithmic axis that spans less than a decade or so."""

FEWEST_TICKS = 4

MARGIN = 0.08
"""Of an axis, left free at either end."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` along an axis from 0 to 1."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    @property
    def tick_texts(self) -> tuple[str, ...]:
        """The ticks in figures; those of a linear axis all with as many decimals."""
        digits = max((len(f"{tick:g}".partition(".")[2]) for tick in self.ticks), default=0)
        return tuple(f"{tick:g}" if self.logarithmic else f"{tick:.{digits}f}" for tick in self.ticks)

    def position(self, value: float) -> float:
        """0 at the low end, 1 at the high end; what lies beyond is put on the end."""
        along: Callable[[float], float] = math.log if self.logarithmic else float
        low, high = along(self.low), along(self.high)
        return (along(min(max(value, self.low), self.high)) - low) / (high - low)


def linear(low: float, high: float, *, ticks: int = 5) -> Scale:
    """An axis around values from `low` to `high`, none of them negative, with about so many ticks."""
    space = (high - low or high or 1.0) * MARGIN / (1 - 2 * MARGIN)
    start, end = max(0.0, low - space), high + space
    step = _nice((end - start) / ticks)
    first, last = math.ceil(start / step), math.floor(end / step)
    return Scale(start, end, tuple(round(step * number, 9) for number in range(first, last + 1)))


def logarithmic(low: float, high: float) -> Scale:
    """An axis around values from `low` to `high`, all above zero."""
    space = max(high / low, 1.5) ** (MARGIN / (1 - 2 * MARGIN))
    start, end = low / space, high * space
    sparse = _within(start, end, NICE[:-1])
    return Scale(start, end, sparse if len(sparse) >= FEWEST_TICKS else _within(start, end, DENSE), logarithmic=True)


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return power * min(NICE, key=lambda one: abs(one - step / power))


def _within(low: float, high: float, multiples: Sequence[float]) -> tuple[float, ...]:
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    values = [one * 10.0**power for power in powers for one in multiples]
    return tuple(value for value in values if low <= value <= high)
