from itertools import pairwise

import numpy as np
import pytest

from service.audio.types import SAMPLE_RATE, Piece, Window
from service.backends.sequences import Hypothesis
from service.recognition.segments import sentence_segments, whole_segment
from service.recognition.types import Segment, Token

POSITION_S = 0.02


def window(*pieces: Piece) -> Window:
    return Window(np.zeros(sum(piece.length for piece in pieces), np.float32), pieces)


def piece(window_s: float, source_s: float, length_s: float) -> Piece:
    return Piece(*(round(time_s * SAMPLE_RATE) for time_s in (window_s, source_s, length_s)))


def spoken(*words: tuple[str, float], end_s: float, length_s: float) -> tuple[Hypothesis, list[Token]]:
    """A token a word, each beginning at its time of the window; the text ends at `end_s`."""
    times = [*(time_s for _, time_s in words), end_s, length_s]
    attention = np.full((2, len(words) + 1, round(length_s / POSITION_S)), 1e-4, np.float32)
    for row, (first, last) in enumerate(pairwise(times)):
        attention[:, row, round(first / POSITION_S) : round(last / POSITION_S)] = 1
    attention /= attention.sum(axis=-1, keepdims=True)
    tokens = [Token(number, text.encode(), -0.1 * number) for number, (text, _) in enumerate(words)]
    logprobs = tuple(token.logprob for token in tokens)
    probed = np.empty(0, np.float32)
    tokens_said = tuple(range(len(words)))
    return Hypothesis(tokens_said, logprobs, 0.0, 0.1, 0.2, looped=False, attention=attention, probed=probed), tokens


TALK = ((" Hello", 0.2), (" world.", 0.6), (" How", 1.4), (" are", 1.7), (" you?", 2.0))


def sentences(given: Window, *words: tuple[str, float], end_s: float) -> tuple[Segment, ...]:
    hypothesis, tokens = spoken(*words, end_s=end_s, length_s=given.duration_s)
    return sentence_segments(given, hypothesis, tokens, language="en", position_s=POSITION_S)


def test_a_segment_is_a_sentence() -> None:
    first, second = sentences(window(piece(0, 0, 3)), *TALK, end_s=2.5)
    assert (first.text, second.text) == (" Hello world.", " How are you?")
    assert [word.text for word in second.words] == [" How", " are", " you?"]
    assert (first.start_s, first.end_s) == (first.words[0].start_s, first.words[-1].end_s)
    assert [token.id for token in (*first.tokens, *second.tokens)] == [0, 1, 2, 3, 4]
    assert second.avg_logprob == pytest.approx(-0.3)
    assert (first.temperature, first.no_speech_prob) == (0.2, 0.1)


def test_words_begin_where_they_are_heard() -> None:
    words = [word for segment in sentences(window(piece(0, 0, 3)), *TALK, end_s=2.5) for word in segment.words]
    expected = [time_s for _, time_s in TALK]
    np.testing.assert_allclose([word.start_s for word in words][1:], expected[1:], atol=0.06)
    for word, following in pairwise(words):
        assert word.start_s <= word.end_s <= following.start_s + 1e-9


def test_times_are_those_of_the_source() -> None:
    given = window(piece(0, 10, 1.2), piece(1.2, 50, 1.8))
    words = [word for segment in sentences(given, *TALK, end_s=2.5) for word in segment.words]
    assert all(10 <= word.start_s <= word.end_s <= 11.2 for word in words[:2])
    assert all(50 <= word.start_s <= word.end_s <= 51.8 for word in words[2:])


def test_a_long_pause_ends_a_segment_without_a_full_stop() -> None:
    given = window(piece(0, 0, 1.2), piece(1.2, 50, 1.8))
    found = sentences(given, *((text.strip(".?") if text != " you?" else text, at) for text, at in TALK), end_s=2.5)
    assert [segment.text for segment in found] == [" Hello world", " How are you?"]


def test_confidence_is_the_mean_probability_of_the_tokens() -> None:
    (segment, _) = sentences(window(piece(0, 0, 3)), *TALK, end_s=2.5)
    assert [word.confidence for word in segment.words] == pytest.approx([1.0, np.exp(-0.1)])


@pytest.mark.parametrize("text", ["", " ", " \n"])
def test_no_text_is_no_segment(text: str) -> None:
    hypothesis, tokens = spoken((text, 0.0), end_s=0.5, length_s=1.0)
    given = window(piece(0, 0, 1))
    assert sentence_segments(given, hypothesis, tokens, language="en", position_s=POSITION_S) == ()
    assert whole_segment(given, hypothesis, tokens) == ()


def test_a_window_without_word_times_is_one_segment() -> None:
    given = window(piece(0, 10, 1.2), piece(1.2, 50, 1.8))
    hypothesis, tokens = spoken(*TALK, end_s=2.5, length_s=3.0)
    (segment,) = whole_segment(given, hypothesis, tokens)
    assert (segment.text, segment.words) == (" Hello world. How are you?", ())
    assert (segment.start_s, segment.end_s) == (10.0, 51.8)
