"""How sure a word error rate is: scored recordings in, an interval out.

The percentile bootstrap over recordings of Bisani & Ney, "Bootstrap estimates for confidence intervals in ASR
performance evaluation" (ICASSP 2004). Two variants are compared on the same draws, for what is hard for the one is hard
for the other: the interval of the difference is much narrower than those of the two suggest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.evaluate.errors import NotComparable
from model_store.evaluate.scoring import Scored, wer

DRAWS = 1000

CONFIDENCE = 0.95

SEED = 2004


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the rate lies with 95 %, in percent."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Growth:
    """By how many points of WER a variant is over another, between `low` and `high` with 95 %."""

    points: float
    low: float
    high: float


def interval(scored: Sequence[Scored]) -> Interval:
    """Of the WER of all the recordings together."""
    return _percentiles(_drawn(*_counts(scored)))


def growth(variant: Sequence[Scored], parent: Sequence[Scored]) -> Growth:
    """What a variant loses against the one that it was made from, on the same recordings.

    Raises:
        NotComparable: they are not the same recordings.
    """
    known = {one.utterance.name: one for one in parent}
    strangers = known.keys() ^ {one.utterance.name for one in variant}
    if strangers:
        raise NotComparable(min(strangers))
    paired = [known[one.utterance.name] for one in variant]
    errors, words = _counts(variant)
    parents, _ = _counts(paired)
    between = _percentiles(_drawn(errors - parents, words))
    return Growth(wer(variant) - wer(paired), between.low, between.high)


Counts = npt.NDArray[np.int64]


def _counts(scored: Sequence[Scored]) -> tuple[Counts, Counts]:
    return np.array([one.errors for one in scored]), np.array([one.words for one in scored])


def _drawn(errors: Counts, words: Counts) -> npt.NDArray[np.float64]:
    """The rate of each draw of as many recordings as there are, with replacement."""
    random = np.random.default_rng(SEED)
    rates = np.empty(DRAWS)
    for index in range(DRAWS):
        drawn = random.integers(0, len(words), len(words))
        rates[index] = 100 * errors[drawn].sum() / words[drawn].sum()
    return rates


def _percentiles(rates: npt.NDArray[np.float64]) -> Interval:
    low, high = np.quantile(rates, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(float(low), float(high))
