"""How far behind the speaker a stream was: what it was told, and when, in; milliseconds out.

Everything is against when the audio in question had been sent, by the client's own clock.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.latency import quantile
from benchmarks.live import Heard, Told

STALE_MS = 1000
"""A user sees that text stands still after about a second."""


@dataclass
class Lags:
    """Milliseconds, of many streams.

    Attributes:
        first: from the beginning of the first word of a stream to the first text.
        interim: of an interim, behind the end of what it covers.
        gap: between two results while a segment has text and is not final.
        final: of a final that ends with a pause, behind the moment at which the pause was long enough.
        word: of the same final, behind the end of its last word: what the pause took is in it.
        close: from "CloseStream" in the midst of speech to the last message.
        late: of the client, behind the pace.
    """

    first: list[float] = field(default_factory=list)
    interim: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)
    word: list[float] = field(default_factory=list)
    close: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def add(self, heard: Heard, first_word_s: float | None) -> None:
        """Of one stream; `first_word_s` is None where nothing is said in it."""
        told = heard.results
        if not told or not heard.sent_s:
            return
        texts = [one for one in told if one.text]
        if first_word_s is not None and texts:
            self.first.append(1e3 * (texts[0].at_s - heard.sent_at(first_word_s)))
        self.interim += [_behind_ms(heard, one) for one in told if not one.final]
        self.gap += [1e3 * gap_s for gap_s in gaps_s(told)]
        ended = [one for one in told if one.speech_final and one.words and one.at_s < heard.closing_s]
        self.final += [_behind_ms(heard, one) for one in ended]
        self.word += [1e3 * (one.at_s - heard.sent_at(one.words[-1].end_s)) for one in ended]
        if not heard.sound.pause_s:
            self.close.append(1e3 * (heard.told[-1].at_s - heard.closing_s))
        self.late += [1e3 * (at_s - n * heard.sound.chunk_s) for n, at_s in enumerate(heard.sent_s[:-1], start=1)]


def _behind_ms(heard: Heard, one: Told) -> float:
    return 1e3 * (one.at_s - heard.sent_at(one.end_s))


def gaps_s(told: Sequence[Told]) -> Iterator[float]:
    """Between the results of a segment, from its first text to its final."""
    segment: list[Told] = []
    for one in told:
        if segment or one.text:
            segment.append(one)
        if one.final:
            yield from (later.at_s - earlier.at_s for earlier, later in pairwise(segment))
            segment = []


@dataclass(frozen=True, slots=True)
class Summary:
    """Milliseconds; None where there was nothing to measure. `refused` by status or code of the close."""

    streams: int
    heard: int
    refused: dict[str, int]
    first_p50: float | None
    first_p95: float | None
    interim_p50: float | None
    interim_p95: float | None
    gap_p50: float | None
    gap_p95: float | None
    stale_share: float
    final_p50: float | None
    final_p95: float | None
    word_p50: float | None
    word_p95: float | None
    close_p50: float | None
    close_p95: float | None
    late_p99: float | None
    interims: int
    finals: int


def summary(streams: int, heard: Sequence[Heard], first_words_s: dict[str, float]) -> Summary:
    lags = Lags()
    for one in heard:
        lags.add(one, first_words_s.get(one.sound.name))
    ended = [one for one in heard if one.code == 1000]
    failures = Counter(str(one.code if one.status == 101 else one.status) for one in heard if one.code != 1000)
    first, interim, gap, final, word, close = (
        (_share(found, 0.5), _share(found, 0.95))
        for found in (lags.first, lags.interim, lags.gap, lags.final, lags.word, lags.close)
    )
    stale = sum(one > STALE_MS for one in lags.gap) / len(lags.gap) if lags.gap else 0.0
    times = (*first, *interim, *gap, stale, *final, *word, *close, _share(lags.late, 0.99))
    return Summary(streams, len(ended), dict(failures), *times, len(lags.interim), len(lags.final))


def _share(values: Sequence[float], share: float) -> float | None:
    return quantile(values, share) if values else None
