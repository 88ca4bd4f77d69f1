"""Points in, those that no other beats in all measures out. Pure; in every measure less is better."""

from collections.abc import Sequence

Measures = tuple[float, ...]


def dominates(one: Measures, other: Measures) -> bool:
    """Whether `one` is nowhere worse than `other`, and somewhere better. Equal points do not dominate each other."""
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def pareto(points: Sequence[Measures]) -> tuple[int, ...]:
    """The indices of the points that none dominates, in their order; of equal points all or none."""
    return tuple(index for index, point in enumerate(points) if not any(dominates(other, point) for other in points))


def dominators(points: Sequence[Measures]) -> tuple[int | None, ...]:
    """For each point one of the front that dominates it, None for those of the front.

    Each dominated point has one there: what dominates its dominator dominates it as well.
    """
    front = pareto(points)
    return tuple(next((index for index in front if dominates(points[index], point)), None) for point in points)
