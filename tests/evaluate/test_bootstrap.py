from pathlib import Path

import numpy as np
import pytest

from model_store.evaluate.bootstrap import growth, interval
from model_store.evaluate.errors import NotComparable
from model_store.evaluate.layouts import Utterance
from model_store.evaluate.scoring import Scored, wer


def scored(errors: list[int], words: list[int]) -> list[Scored]:
    return [
        Scored(Utterance("set", str(index), Path(), "", "en"), "", all_, wrong, 0, 0, all_, wrong)
        for index, (wrong, all_) in enumerate(zip(errors, words, strict=True))
    ]


def sample(random: np.random.Generator, rate: float, recordings: int = 100) -> list[Scored]:
    words = random.integers(5, 30, recordings)
    return scored(random.binomial(words, rate).tolist(), words.tolist())


def test_interval_holds_the_true_rate_in_nineteen_of_twenty_draws() -> None:
    """Of 200 sets about 190 should; the percentile bootstrap of 100 recordings is a little narrow."""
    random, rate = np.random.default_rng(1), 0.08
    found = [interval(sample(random, rate)) for _ in range(200)]
    assert 180 <= sum(one.low <= 100 * rate <= one.high for one in found) <= 198


def test_interval_is_as_wide_as_the_spread_of_the_binomial() -> None:
    random = np.random.default_rng(2)
    one = sample(random, 0.1, recordings=1000)
    found, deviation = interval(one), 100 * (0.1 * 0.9 / sum(s.words for s in one)) ** 0.5
    assert found.low < wer(one) < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.15)


def test_interval_of_one_recording_is_a_point() -> None:
    found = interval(scored([1], [4]))
    assert (found.low, found.high) == (25.0, 25.0)


def test_interval_is_the_same_each_time() -> None:
    one = sample(np.random.default_rng(3), 0.1)
    assert interval(one) == interval(one)


def test_growth_is_of_pairs_whatever_their_order() -> None:
    parent = scored([0, 1, 0, 2], [10, 10, 10, 10])
    worse = scored([1, 2, 1, 3], [10, 10, 10, 10])
    found = growth(worse[::-1], parent)
    assert (found.points, found.low, found.high) == pytest.approx((10.0, 10.0, 10.0))


def test_growth_is_surer_than_the_two_intervals() -> None:
    """One word more is wrong in a tenth of the recordings, which vary much among themselves."""
    random = np.random.default_rng(4)
    parent = sample(random, 0.3)
    more = random.binomial(1, 0.1, len(parent))
    variant = scored([s.errors + int(m) for s, m in zip(parent, more, strict=True)], [s.words for s in parent])
    found, alone = growth(variant, parent), interval(variant)
    assert 0 < found.low < found.points < found.high
    assert found.high - found.low < (alone.high - alone.low) / 3


def test_growth_of_a_variant_over_itself_is_nothing() -> None:
    one = sample(np.random.default_rng(5), 0.1)
    found = growth(one, one)
    assert (found.points, found.low, found.high) == (0, 0, 0)


def test_growth_needs_the_same_recordings() -> None:
    one = sample(np.random.default_rng(6), 0.1)
    with pytest.raises(NotComparable, match="set/99"):
        growth(one, one[:-1])
