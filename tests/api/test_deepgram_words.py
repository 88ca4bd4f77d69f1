import pytest

from service.api.deepgram_words import (
    PARAGRAPH_PAUSE_S,
    PARAGRAPH_SENTENCES,
    Replacement,
    bare,
    confidence_of,
    paragraphs,
    sentences,
    text_of,
    utterances,
    words_of,
)
from service.recognition.types import Segment, Word
from tests.api.speech import segment


def spoken(text: str, *, pauses: dict[int, float] | None = None) -> tuple[Word, ...]:
    """Half a second a word; before some, by their number, a pause."""
    words, at_s = [], 0.0
    for number, written in enumerate(text.split()):
        at_s += (pauses or {}).get(number, 0.0)
        words.append(Word(f" {written}", at_s, at_s + 0.5, 0.5))
        at_s += 0.5
    return tuple(words)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (" Hello,", "hello"),
        ("don't", "don't"),
        ("“So-called”", "so-called"),
        (" $5.50.", "5.50"),
        (" —", "—"),
        ("你", "你"),
    ],
)
def test_a_bare_word_is_in_lower_case_without_the_punctuation_around_it(written: str, expected: str) -> None:
    assert bare(written) == expected


def test_words_of_all_segments_make_the_text() -> None:
    words = words_of((segment("The fox jumps.", 0.0, 3.0), segment("Over the dog.", 3.5, 5.0)))
    assert text_of(words) == "The fox jumps. Over the dog."
    assert (words[0].start_s, words[-1].end_s) == (0.0, 5.0)


def test_words_that_a_model_does_not_time_share_their_segment() -> None:
    timed = segment("One two three four.", 2.0, 4.0)
    untimed = Segment(2.0, 4.0, " One two three four.", timed.tokens, 0.0, timed.avg_logprob, 1.0, 0.0)
    assert [(word.start_s, word.end_s) for word in words_of((untimed,))] == [(2.0, 2.5), (2.5, 3), (3, 3.5), (3.5, 4.0)]
    assert text_of(words_of((untimed,))) == "One two three four."
    assert confidence_of(words_of((untimed,))) == pytest.approx(0.8)


def test_of_nothing_the_confidence_is_0() -> None:
    assert confidence_of(()) == 0.0


@pytest.mark.parametrize(
    ("find", "text", "expected"),
    [
        (("fox",), "Cat", "The Cat. The Cat, again."),
        (("the", "fox"), "A cat", "A cat. A cat, again."),
        (("again",), "", "The fox. The fox,"),
        (("dog",), "cat", "The fox. The fox, again."),
        (("fox", "again"), "x", "The fox. The x."),
    ],
)
def test_a_phrase_is_replaced_wherever_it_was_said(find: tuple[str, ...], text: str, expected: str) -> None:
    heard = (segment("The fox. The fox, again.", 0.0, 5.0),)
    assert text_of(words_of(heard, (Replacement(find, text),))) == expected


def test_what_is_replaced_lasts_as_long_as_what_was_said() -> None:
    (word, _) = words_of((segment("new york city.", 0.0, 3.0),), (Replacement(("new", "york"), "NY"),))
    assert (word.text, word.start_s, word.end_s) == (" NY", 0.0, 2.0)


def test_utterances_part_where_nobody_spoke_for_the_gap() -> None:
    words = spoken("a b c d", pauses={2: 0.8, 3: 0.79})
    assert [text_of(run) for run in utterances(words, gap_s=0.8)] == ["a b", "c d"]
    assert utterances((), gap_s=0.8) == []
    assert [text_of(run) for run in utterances(words[:1], gap_s=0.8)] == ["a"]


def test_sentences_end_with_their_mark_or_with_the_words() -> None:
    words = spoken('He said "Go!" Did he? At 3.5 miles. And')
    assert [text_of(one) for one in sentences(words)] == ['He said "Go!"', "Did he?", "At 3.5 miles.", "And"]
    assert sentences(()) == []


def test_a_paragraph_ends_with_a_pause_or_after_some_sentences() -> None:
    lengths = [len(one) for one in paragraphs(spoken("a. " * (PARAGRAPH_SENTENCES + 1)))]
    assert lengths == [PARAGRAPH_SENTENCES, 1]
    words = spoken("a. b c. d.", pauses={1: PARAGRAPH_PAUSE_S, 2: PARAGRAPH_PAUSE_S})
    assert [len(one) for one in paragraphs(words)] == [1, 2]
    assert paragraphs(()) == []
