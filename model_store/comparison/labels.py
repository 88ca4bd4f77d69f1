"""Marks with texts in; a place for each text, clear of the marks and of the other texts, out. Pure.

Greedy: the texts that matter most come first, each takes the nearest free place of a few around its mark. A text for
which none is left is dropped rather than printed over another.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

CHARACTER_WIDTH, LINE_HEIGHT = 7.0, 13.0
"""Of a wide sans-serif font of 12 units; nothing here can measure the one that a browser takes."""

MARK_RADIUS = 6.0

DISTANCES = (10.0, 18.0, 28.0, 40.0, 54.0, 70.0)
"""From the mark's centre to the text's edge."""

FAR_ENOUGH = DISTANCES[1]
"""No text goes farther only to be clear of lines."""

DIRECTIONS = ((1.0, 0.0), (0.7, -0.7), (0.7, 0.7), (-1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (-0.7, -0.7), (-0.7, 0.7))


@dataclass(frozen=True, slots=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def within(self, other: "Box") -> bool:
        across = self.left >= other.left and self.right <= other.right
        return across and self.top >= other.top and self.bottom <= other.bottom


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text that should stand near (x, y)."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Label:
    """A text's place, so far from its mark at (x, y)."""

    text: str
    box: Box
    x: float
    y: float
    distance: float

    @property
    def leader(self) -> bool:
        """Whether a line should lead there."""
        return self.distance > DISTANCES[0]

    @property
    def nearest(self) -> tuple[float, float]:
        """Where a line from the mark should end."""
        x = min(max(self.x, self.box.left), self.box.right)
        return round(x, 1), round(min(max(self.y, self.box.top), self.box.bottom), 1)


def placed(wanted: Sequence[Wanted], frame: Box, marks: Iterable[Box], lines: Sequence[Box] = ()) -> tuple[Label, ...]:
    """Places the texts, the most important first; those without a place are left out. Lines are crossed if need be."""
    taken, labels = list(marks), list[Label]()
    for one in wanted:
        free = [label for label in _candidates(one) if label.box.within(frame) and not _overlaps(label.box, taken)]
        clear = (label for label in free if label.distance <= FAR_ENOUGH and not _overlaps(label.box, lines))
        if free:
            labels.append(next(clear, free[0]))
            taken.append(labels[-1].box)
    return tuple(labels)


def around(x: float, y: float) -> Box:
    """What a mark covers."""
    return Box(x - MARK_RADIUS, y - MARK_RADIUS, x + MARK_RADIUS, y + MARK_RADIUS)


def _candidates(one: Wanted) -> Iterable[Label]:
    width = CHARACTER_WIDTH * len(one.text)
    for distance, (across, down) in product(DISTANCES, DIRECTIONS):
        x = one.x + across * distance + (math.copysign(width / 2, across) if across else 0)
        y = one.y + down * (distance + LINE_HEIGHT / 2)
        edges = (x - width / 2, y - LINE_HEIGHT / 2, x + width / 2, y + LINE_HEIGHT / 2)
        yield Label(one.text, Box(*(round(edge, 1) for edge in edges)), one.x, one.y, distance)


def _overlaps(box: Box, others: Iterable[Box]) -> bool:
    return any(box.overlaps(other) for other in others)
