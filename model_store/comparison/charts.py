"""Compared variants in; charts as coordinates, which the page's template draws as SVG, out. Pure.

Drawn here and not by a chart library: none of those that are small enough for everybody's installation keeps labels
apart, takes its colours from the page's light or dark, and shows a tooltip without a script.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.filesize import decimal

from model_store.comparison.labels import Box, Label, Wanted, around, placed
from model_store.comparison.pareto import pareto
from model_store.comparison.rows import Group, Row
from model_store.comparison.scale import Scale, linear, logarithmic
from model_store.manifest import Evaluation

WIDTH, HEIGHT = 480, 360
PLOT = Box(52, 12, WIDTH - 12, HEIGHT - 46)
"""Where the marks are; axes and their texts lie around it."""

SHAPES = ("circle", "square", "diamond", "triangle")
"""One a model, in turn."""

FAR = 2.5
"""The WER axis ends at so many times the lowest WER: one ruined variant would press all others into a line."""

Point = tuple[Row, Evaluation]
Corner = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Against:
    """What WER is drawn against: `measure` of a point, which is better where it is high if `high_is_better`."""

    key: str
    title: str
    axis: str
    measure: Callable[[Point], float]
    high_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A variant; `beyond` says that its WER lies above the axis."""

    x: float
    y: float
    shape: str
    on_front: bool
    beyond: bool
    tooltip: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Ready to be drawn: all coordinates are those of the SVG."""

    key: str
    title: str
    description: str
    x_axis: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    labels: tuple[Label, ...]
    front: tuple[Corner, ...]
    legend: tuple[tuple[str, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    plot: Box = PLOT


AGAINST = (
    Against("size", "WER against size", "size on disk, MB", lambda point: point[0].manifest.total_bytes / 1e6),
    Against(
        "speed",
        "WER against speed",
        "seconds of audio a second",
        lambda point: point[1].speed,
        high_is_better=True,
    ),
)


def charts(group: Group) -> tuple[Chart, ...]:
    """One chart a measure; none where fewer than two variants can be compared."""
    return tuple(chart for against in AGAINST if (chart := _chart(group, against)))


def key(group: Group) -> str:
    """Identifies the group within the page."""
    return f"model-{group.model}" if group.model else "all-models"


def _chart(group: Group, against: Against) -> Chart | None:
    points = [point for point in group.compared if 0 < against.measure(point) < math.inf]
    if len(points) < 2:
        return None
    sign = -1 if against.high_is_better else 1
    front = pareto([(sign * against.measure(point), point[1].wer) for point in points])
    across = logarithmic(min(map(against.measure, points)), max(map(against.measure, points)))
    up = _wer_scale([point[1].wer for point in points])
    positions = [(_x(across, against.measure(point)), _y(up, point[1].wer)) for point in points]
    stairs = _stairs([positions[index] for index in front], rightwards=not against.high_is_better)
    shapes = _shapes(group)
    marks = tuple(
        Mark(x, y, shapes[row.manifest.model], index in front, one.wer > up.high, _tooltip(row, one))
        for index, ((row, one), (x, y)) in enumerate(zip(points, positions, strict=True))
    )
    return Chart(
        f"{key(group)}-{against.key}",
        f"{against.title}: {group.model or 'all models'}",
        _description(group, points, front),
        against.axis,
        _ticks(across, _x),
        _ticks(up, _y),
        marks,
        _labels(group, points, marks, stairs),
        stairs,
        tuple(shapes.items()) if group.model is None else (),
    )


def _wer_scale(wers: Sequence[float]) -> Scale:
    limit = max(FAR * min(wers), min(wers) + 1)
    return linear(min(wers), max(wer for wer in wers if wer <= limit))


def _ticks(scale: Scale, place: Callable[[Scale, float], float]) -> tuple[Tick, ...]:
    return tuple(Tick(place(scale, tick), text) for tick, text in zip(scale.ticks, scale.tick_texts, strict=True))


def _x(scale: Scale, value: float) -> float:
    return round(PLOT.left + scale.position(value) * (PLOT.right - PLOT.left), 1)


def _y(scale: Scale, value: float) -> float:
    return round(PLOT.bottom - scale.position(value) * (PLOT.bottom - PLOT.top), 1)


def _shapes(group: Group) -> dict[str, str]:
    models = sorted({row.manifest.model for row, _ in group.compared})
    return {model: SHAPES[index % len(SHAPES)] for index, model in enumerate(models)}


def _labels(
    group: Group, points: Sequence[Point], marks: Sequence[Mark], stairs: Sequence[Corner]
) -> tuple[Label, ...]:
    """Those of the front first, since not all may find a place; of all models together there are too many others."""
    pairs = [(point, mark) for point, mark in zip(points, marks, strict=True) if group.model or mark.on_front]
    told_by_shape = len(_shapes(group)) <= len(SHAPES)
    wanted = [
        Wanted(
            (row.manifest.variant if told_by_shape else row.manifest.name)
            + (f" {one.wer:.0f} %" if mark.beyond else ""),
            mark.x,
            mark.y,
        )
        for (row, one), mark in sorted(pairs, key=lambda pair: not pair[1].on_front)
    ]
    lines = [_stretched(one, other) for one, other in pairwise(stairs)]
    return placed(wanted, PLOT, [around(mark.x, mark.y) for mark in marks], lines)


def _stretched(one: Corner, other: Corner) -> Box:
    return Box(min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1]))


def _stairs(front: Sequence[Corner], *, rightwards: bool) -> tuple[Corner, ...]:
    """The border of what the front dominates, from the upper edge to the right one, or to the left one."""
    path: list[Corner] = []
    height = PLOT.top
    for x, y in sorted(front, reverse=not rightwards):
        path += [(x, height), (x, y)]
        height = y
    return (*path, (PLOT.right if rightwards else PLOT.left, height))


def _name(group: Group, row: Row) -> str:
    return row.manifest.variant if group.model else row.manifest.name


def _tooltip(row: Row, one: Evaluation) -> str:
    return (
        f"{row.manifest.name}: {decimal(row.manifest.total_bytes)}, WER {one.wer:.2f} % "
        f"({one.wer_low:.2f} to {one.wer_high:.2f}), {one.speed:.1f}x, {one.latency_p50_ms:.0f} ms; {row.standing}"
    )


def _description(group: Group, points: Sequence[Point], front: Sequence[int]) -> str:
    names = ", ".join(_name(group, points[index][0]) for index in front)
    return f"{len(points)} variants. On the front: {names}. The table has all figures."
