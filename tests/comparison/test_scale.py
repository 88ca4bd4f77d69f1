import itertools
import math

import pytest

from model_store.comparison.scale import linear, logarithmic

RANGES = [(5.4, 7.2), (0.0, 0.0), (0.0, 3.0), (87.0, 87.0), (4.999, 5.001), (20.0, 2000.0), (1e-3, 1e4), (1.0, 1.1)]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_linear_axis_holds_its_values_with_room_and_a_few_ticks(low: float, high: float) -> None:
    scale = linear(low, high)
    assert 0 <= scale.position(low) <= scale.position(high) < 1
    assert 2 <= len(scale.ticks) <= 12
    assert all(0 <= scale.position(tick) <= 1 for tick in scale.ticks)
    assert len({len(text.partition(".")[2]) for text in scale.tick_texts}) == 1


@pytest.mark.parametrize(("low", "high"), [pair for pair in RANGES if pair[0] > 0])
def test_logarithmic_axis_gives_equal_factors_equal_lengths(low: float, high: float) -> None:
    scale = logarithmic(low, high)
    assert 0 < scale.position(low) <= scale.position(high) < 1
    middle = math.sqrt(low * high)
    assert scale.position(middle) == pytest.approx((scale.position(low) + scale.position(high)) / 2)


def test_what_lies_beyond_is_put_on_the_end() -> None:
    assert linear(5, 6).position(90) == 1
    assert logarithmic(5, 6).position(0.1) == 0


def test_ticks_rise_and_are_round() -> None:
    assert linear(5.44, 7.13).ticks == (5.5, 6.0, 6.5, 7.0)
    assert linear(5.44, 7.13).tick_texts == ("5.5", "6.0", "6.5", "7.0")
    assert logarithmic(20, 200).tick_texts == ("20", "50", "100", "200")
    for scale in (logarithmic(25, 150), logarithmic(0.5, 70)):
        assert all(one < other for one, other in itertools.pairwise(scale.ticks))
