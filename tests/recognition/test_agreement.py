import pytest

from service.recognition.agreement import HELD, continued, settled
from service.recognition.types import Token


def tokens(*pieces: str) -> tuple[Token, ...]:
    """A token a piece; equal pieces are the same token."""
    return tuple(Token(sum(piece.encode()), piece.encode(), -0.1) for piece in pieces)


def said(*pieces: tuple[Token, ...]) -> str:
    return b"".join(token.piece for token in settled(*pieces, held=0)).decode()


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ((), (), ""),
        ((), (" one",), ""),
        ((" one",), (), ""),
        ((" one",), (" one",), " one"),
        ((" one", " two"), (" one", " two", " three"), " one two"),
        ((" one", " two", " three"), (" one", " two"), " one two"),
        ((" one", " two"), (" one", " too"), " one"),
        ((" two",), (" one",), ""),
        (("One", " two"), ("One", " two"), "One two"),
    ],
)
def test_what_two_drafts_agree_on(before: tuple[str, ...], now: tuple[str, ...], same: str) -> None:
    assert said(tokens(*before), tokens(*now)) == same


def test_a_word_that_may_go_on_is_not_whole() -> None:
    assert said(tokens(" one", " foot"), tokens(" one", " foot", "ball")) == " one"
    assert said(tokens(" one", " foot", "ball"), tokens(" one", " foot", "ball", " two")) == " one football"


def test_a_mark_goes_with_its_word_and_is_the_last_drafts() -> None:
    assert said(tokens(" one", " two", ","), tokens(" one", " two", ".")) == " one two."
    assert said(tokens(" one", " two", ","), tokens(" one", " two", ",", " three")) == " one two,"


def test_the_last_words_are_held_back() -> None:
    seven = tokens(" one", " two", " three", " four", " five", " six", " seven")
    assert settled(seven, seven) == seven[: 7 - HELD]
    assert settled(seven, seven[:HELD]) == ()
    assert settled(seven, seven[: HELD + 1]) == seven[:1]


def test_all_drafts_have_to_agree() -> None:
    three = tokens(" one", " two", " three")
    assert said(three, tokens(" one", " too", " three"), three) == " one"


def test_what_was_heard_is_told_in_the_tokens_of_now() -> None:
    before, now = tokens(" one", " two"), tuple(Token(sum(p), p, -0.5) for p in (b" one", b" two"))
    assert {token.logprob for token in settled(before, now, held=0)} == {-0.5}


@pytest.mark.parametrize(
    ("sent", "text", "rest"),
    [
        ("", "", ""),
        ("", "All of it.", "All of it."),
        ("All of it.", "All of it.", ""),
        ("One two", "One two three.", " three."),
        ("One two", "One two, three.", ", three."),
        ("One two", "One too three.", " three."),
        ("one Two", "One two three.", " three."),
        ("One, two.", "One two three.", " three."),
        ("One two three", "One three four five.", " four five."),
        ("One two four", "One two three four five.", " five."),
        ("One three", "One two three four.", " four."),
        ("One two three", "One two", ""),
        ("One two", "", ""),
        ("We foot", "We football a lot.", " a lot."),
        ("Don't do", "Dont do it.", " it."),
        ("你好", "你好。", "。"),
    ],
)
def test_goes_on_behind_what_was_sent(sent: str, text: str, rest: str) -> None:
    assert continued(sent, text) == rest


@pytest.mark.parametrize("place", range(9))
def test_a_text_that_begins_as_sent_becomes_itself(place: int) -> None:
    words = ["The", "quick", "brown", "fox,", "it", "jumps", "over", "dogs."]
    sent, text = " ".join(words[:place]), " ".join(words)
    assert sent + continued(sent, text) == text


def test_what_is_sent_is_never_joined_to_another_word() -> None:
    assert continued("Completely other words", "It was said here now").startswith((" ", "")) is True
    sent = "It was a"
    rest = continued(sent, "It was said here.")
    assert not rest or rest[0].isspace()
