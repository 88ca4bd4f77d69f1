"""Lines over time in, one SVG of panels that share the time axis out. Pure.

Drawn here as the report's charts are, and for the same reasons. There is a light and a dark one, for a page's readers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from model_store.comparison.scale import Scale, linear

WIDTH, LEFT, RIGHT = 860, 60, 836
TOP, PANEL, GAP, BOTTOM = 50, 92, 30, 40
"""Of the SVG, in its units: above the panels, of one, between two, below them."""


@dataclass(frozen=True, slots=True)
class Theme:
    page: str
    text: str
    quiet: str
    grid: str
    band: str
    lines: tuple[str, ...]
    """Colours of a panel's first line, its second, and so on."""


LIGHT = Theme("#ffffff", "#1b2027", "#56606b", "#d7dde3", "#f0f2f5", ("#0b62b8", "#c2571a", "#56606b"))
DARK = Theme("#14181d", "#e8edf2", "#a3afbb", "#35404b", "#20272f", ("#6cb6ff", "#f0a05a", "#a3afbb"))


@dataclass(frozen=True, slots=True)
class Line:
    """Points of time and height; `steps` says that a height holds until the next point."""

    points: Sequence[tuple[float, float]]
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A line for each of the theme's colours, None for none, and a dashed line at `mark`.

    Attributes:
        names: of whole heights from 0 on, in place of figures.
    """

    title: str
    lines: Sequence[Line | None]
    mark: float | None = None
    names: Sequence[str] = ()

    @property
    def scale(self) -> Scale:
        if self.names:
            return Scale(-0.5, len(self.names) - 0.5, tuple(map(float, range(len(self.names)))))
        heights = [y for line in self.lines if line for _, y in line.points]
        return linear(0, max(*heights, self.mark or 0.0, 1.0), ticks=3)

    @property
    def texts(self) -> Sequence[str]:
        return self.names or self.scale.tick_texts


@dataclass(frozen=True, slots=True)
class Chart:
    """`names` are those of the first lines in each panel; `band` is the stretch of time that is set off."""

    title: str
    names: Sequence[str]
    panels: Sequence[Panel]
    seconds: float
    band: tuple[float, float]

    @property
    def height(self) -> float:
        return TOP + len(self.panels) * (PANEL + GAP) - GAP + BOTTOM


def svg(chart: Chart, theme: Theme) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {chart.height}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="12" fill="{theme.quiet}">',
        f"<title>{escape(chart.title)}</title>",
        f'<rect width="{WIDTH}" height="{chart.height}" fill="{theme.page}"/>',
        *_legend(chart, theme),
    ]
    for index, panel in enumerate(chart.panels):
        lines += _panel(chart, panel, TOP + index * (PANEL + GAP), theme)
    return "\n".join([*lines, *_axis(chart), "</svg>"]) + "\n"


def _legend(chart: Chart, theme: Theme) -> Iterator[str]:
    x = LEFT
    for name, colour in zip(chart.names, theme.lines, strict=False):
        yield f'<path d="M{x} 14h18" stroke="{colour}" stroke-width="2.5"/>'
        yield f'<text x="{x + 24}" y="18" fill="{theme.text}">{escape(name)}</text>'
        x += 52 + 7 * len(name)


def _panel(chart: Chart, panel: Panel, top: float, theme: Theme) -> Iterator[str]:
    scale = panel.scale
    left, right = (_x(chart, at_s) for at_s in chart.band)
    yield f'<rect x="{left}" y="{top}" width="{right - left:.1f}" height="{PANEL}" fill="{theme.band}"/>'
    yield f'<text x="{LEFT}" y="{top - 5}" fill="{theme.text}">{escape(panel.title)}</text>'
    for tick, text in zip(scale.ticks, panel.texts, strict=True):
        y = _y(scale, top, tick)
        yield f'<path d="M{LEFT} {y}H{RIGHT}" stroke="{theme.grid}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{escape(text)}</text>'
    if panel.mark is not None:
        y = _y(scale, top, panel.mark)
        yield f'<path d="M{LEFT} {y}H{RIGHT}" stroke="{theme.quiet}" stroke-dasharray="5 4"/>'
    for line, colour in reversed(list(zip(panel.lines, theme.lines, strict=False))):
        if line is not None:
            path = _path(chart, line, scale, top)
            yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"/>'


def _path(chart: Chart, line: Line, scale: Scale, top: float) -> str:
    places = [(_x(chart, at_s), _y(scale, top, height)) for at_s, height in line.points]
    if not places:
        return ""
    start = f"M{places[0][0]} {places[0][1]}"
    if not line.steps:
        return start + "".join(f"L{x} {y}" for x, y in places[1:])
    return start + "".join(f"H{x}V{y}" for (_, before), (x, y) in pairwise(places) if y != before) + f"H{RIGHT}"


def _axis(chart: Chart) -> Iterator[str]:
    y = chart.height - BOTTOM + 16
    for tick in range(0, int(chart.seconds) + 1, 30):
        yield f'<text x="{_x(chart, tick)}" y="{y}" text-anchor="middle">{tick}</text>'
    yield f'<text x="{(LEFT + RIGHT) / 2}" y="{y + 17}" text-anchor="middle">seconds</text>'


def _x(chart: Chart, at_s: float) -> float:
    return round(LEFT + min(at_s / chart.seconds, 1.0) * (RIGHT - LEFT), 1)


def _y(scale: Scale, top: float, height: float) -> float:
    return round(top + (1 - scale.position(height)) * PANEL, 1)
