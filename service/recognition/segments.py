"""A decoded window in; its segments out, with words and times of the source audio."""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate

from service.audio.types import SAMPLE_RATE, Window
from service.audio.windows import end_s, start_s
from service.backends.sequences import Hypothesis
from service.recognition.alignment import token_positions
from service.recognition.quality import compression_ratio
from service.recognition.tokenizer import text_of
from service.recognition.types import Segment, Token, Word
from service.recognition.words import word_lengths

_SENTENCE_ENDS = frozenset(".?!。？！…")
_SNAP_S = 0.4
"""How far from the silence before an onset a word is still taken to begin there."""

_PAUSE_S = 1.0
"""A silence between words that ends a segment even without a full stop."""


def whole_segment(window: Window, hypothesis: Hypothesis, tokens: Sequence[Token]) -> tuple[Segment, ...]:
    """The window as one segment, without words; nothing if it has no text."""
    if not text_of([token.piece for token in tokens]).strip():
        return ()
    begins = start_s(window, window.pieces[0].lead / SAMPLE_RATE)
    return (_segment(hypothesis, tokens, begins, end_s(window, window.duration_s), ()),)


def sentence_segments(
    window: Window, hypothesis: Hypothesis, tokens: Sequence[Token], *, language: str, position_s: float
) -> tuple[Segment, ...]:
    """A segment a sentence, each with its words; a long pause ends a sentence too."""
    if not text_of([token.piece for token in tokens]).strip():
        return ()
    lengths = word_lengths([token.piece for token in tokens], language)
    words = _words(window, hypothesis, tokens, lengths, position_s)
    segments = []
    for first, last in _sentences(words):
        ours = tokens[sum(lengths[:first]) : sum(lengths[:last])]
        group = tuple(words[first:last])
        segments.append(_segment(hypothesis, ours, group[0].start_s, group[-1].end_s, group))
    return tuple(segments)


def _words(
    window: Window, hypothesis: Hypothesis, tokens: Sequence[Token], lengths: Sequence[int], position_s: float
) -> list[Word]:
    positions = min(math.ceil(len(window.samples) / SAMPLE_RATE / position_s), hypothesis.attention.shape[2])
    entries = token_positions(hypothesis.attention[:, : len(tokens) + 1], positions) * position_s
    places = list(accumulate(lengths, initial=0))
    starts = [float(entries[place]) for place in places[:-1]]
    ends = [float(entries[min(place, len(entries) - 1)]) for place in places[1:]]
    _settle(window, starts, ends)
    _spread(starts, ends)
    words = []
    for place, length, begins, stops in zip(places, lengths, starts, ends, strict=False):
        ours = tokens[place : place + length]
        start = start_s(window, begins)
        stop = max(start, end_s(window, stops))
        confidence = sum(math.exp(token.logprob) for token in ours) / length
        words.append(Word(text_of([token.piece for token in ours]), start, stop, confidence))
    return words


def _settle(window: Window, starts: list[float], ends: list[float]) -> None:
    """Where sound was left out, move the word that begins there to its onset and end the word before at the seam.

    Attention is spread over the silence between two words; where the speech begins again is known better.
    """
    for piece in window.pieces:
        seam, onset = piece.window_start / SAMPLE_RATE, (piece.window_start + piece.lead) / SAMPLE_RATE
        earliest, latest = seam - _SNAP_S, onset + _SNAP_S
        near = [word for word, start in enumerate(starts) if earliest <= start <= latest and ends[word] > onset]
        if not near:
            continue
        index = near[0]
        starts[index] = onset
        if index:
            ends[index - 1] = max(starts[index - 1], min(ends[index - 1], seam))


def _spread(starts: list[float], ends: list[float]) -> None:
    """Share the time of words that begin together equally: attention may give one of them no position of its own."""
    first = 0
    for last in range(len(starts)):
        if last + 1 < len(starts) and starts[last + 1] <= starts[first]:
            continue
        begin, step = starts[first], (ends[last] - starts[first]) / (last + 1 - first)
        for index in range(first, last):
            ends[index] = begin + step * (index + 1 - first)
            starts[index + 1] = ends[index]
        first = last + 1


def _sentences(words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """(first, last) of each sentence, `last` not included."""
    first = 0
    for index, word in enumerate(words):
        following = words[index + 1 : index + 2]
        stopped = word.text.rstrip("\"'”’)»")[-1:] in _SENTENCE_ENDS
        if stopped or not following or following[0].start_s - word.end_s > _PAUSE_S:
            yield first, index + 1
            first = index + 1


def _segment(
    hypothesis: Hypothesis, tokens: Sequence[Token], start: float, end: float, words: tuple[Word, ...]
) -> Segment:
    pieces = [token.piece for token in tokens]
    return Segment(
        start_s=start,
        end_s=end,
        text=text_of(pieces),
        tokens=tuple(tokens),
        temperature=hypothesis.temperature,
        avg_logprob=sum(token.logprob for token in tokens) / len(tokens),
        compression_ratio=compression_ratio(b"".join(pieces)),
        no_speech_prob=hypothesis.no_speech_prob,
        words=words,
    )
