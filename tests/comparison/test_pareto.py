import itertools
import random

import pytest

from model_store.comparison.pareto import Measures, dominates, dominators, pareto


def drawn(seed: int, measures: int) -> list[Measures]:
    """Few different values, so that ties are common."""
    draw = random.Random(seed)
    return [tuple(draw.randint(0, 6) for _ in range(measures)) for _ in range(draw.randint(0, 25))]


DRAWN = [drawn(seed, measures) for seed in range(40) for measures in (1, 2, 3)]


def test_front_of_two_measures() -> None:
    assert pareto([(1, 9), (2, 5), (3, 6), (4, 5), (5, 1)]) == (0, 1, 4)


def test_third_measure_keeps_what_two_would_not() -> None:
    assert pareto([(1, 1, 5), (2, 2, 4), (2, 2, 6)]) == (0, 1)


def test_equal_points_stay_together() -> None:
    assert pareto([(1, 1), (1, 1), (2, 2), (2, 2)]) == (0, 1)
    assert not dominates((1, 1), (1, 1))


def test_better_in_one_and_equal_in_the_other_dominates() -> None:
    assert dominates((1, 2), (1, 3))
    assert not dominates((1, 3), (2, 2))


def test_nothing_has_no_front_and_one_point_is_it() -> None:
    assert pareto([]) == ()
    assert pareto([(3, 3)]) == (0,)


def test_points_of_different_measures_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        pareto([(1, 2), (1,)])


@pytest.mark.parametrize("points", DRAWN)
def test_front_dominates_all_others_and_none_of_itself(points: list[Measures]) -> None:
    front = pareto(points)
    assert not any(dominates(points[one], points[other]) for one, other in itertools.permutations(front, 2))
    for index, dominator in enumerate(dominators(points)):
        assert (dominator is None) == (index in front)
        assert dominator is None or (dominator in front and dominates(points[dominator], points[index]))


@pytest.mark.parametrize("points", DRAWN)
def test_order_of_the_points_does_not_matter(points: list[Measures]) -> None:
    turned = points[::-1]
    assert {points[index] for index in pareto(points)} == {turned[index] for index in pareto(turned)}
