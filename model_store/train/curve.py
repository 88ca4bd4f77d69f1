"""The losses of a training in, a drawing of them out (SVG)."""

from collections.abc import Mapping, Sequence
from html import escape

from model_store.comparison.scale import linear

_WIDTH, _HEIGHT, _EDGE = 640, 320, 44
_SHOWN = 200
"""Points of the line: each is the mean of the steps up to it."""


def svg(losses: Sequence[float], held_out: Mapping[int, float], *, title: str) -> str:
    """The loss by step, and the held-out WER as dots where it was measured, both from nothing up."""
    means = smoothed(losses, _SHOWN)
    top = max((loss for _, loss in means), default=1.0)
    line = " ".join(f"{_x(step, len(losses)):.1f},{_y(loss, top):.1f}" for step, loss in means)
    worst = max(held_out.values(), default=1.0)
    dots = "".join(
        f'<circle cx="{_x(step, len(losses)):.1f}" cy="{_y(wer, worst):.1f}" r="3" fill="#c33">'
        f"<title>step {step}: held-out WER {wer:.2f} %</title></circle>"
        for step, wer in held_out.items()
    )
    ticks = "".join(
        f'<text x="{_EDGE - 6}" y="{_y(value, top) + 4:.1f}" text-anchor="end">{value:g}</text>'
        for value in linear(0, top).ticks
        if value <= top
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{_EDGE}" y="16">{escape(title)}: loss by step (0 to {len(losses)})</text>{ticks}'
        f'<polyline fill="none" stroke="#26a" stroke-width="1.5" points="{line}"/>{dots}</svg>\n'
    )


def smoothed(losses: Sequence[float], most: int) -> list[tuple[int, float]]:
    """At most so many points: the last step and the mean loss of each of as many stretches."""
    size = max(1, -(-len(losses) // most))
    stretches = [losses[first : first + size] for first in range(0, len(losses), size)]
    return [(index * size + len(one), sum(one) / len(one)) for index, one in enumerate(stretches)]


def _x(step: int, steps: int) -> float:
    return _EDGE + (_WIDTH - _EDGE - 12) * step / max(1, steps)


def _y(value: float, top: float) -> float:
    return _HEIGHT - 16 - (_HEIGHT - 48) * value / (top or 1.0)
