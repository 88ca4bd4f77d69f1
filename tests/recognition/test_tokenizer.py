import pytest

from service.recognition.tokenizer import text_of
from tests.recognition.models import BASE, TINY, whisper

TEXTS = (
    "",
    " Hello, world!",
    "no leading space",
    "  two  spaces \n and\ttabs",
    " naïve café — 10 €",
    " 漢字 with かな",
    " 👩‍🚀🎉",
    " नमस्ते दुनिया",
    "\x00\x7f",
)


@pytest.mark.parametrize("model", [TINY, BASE])
@pytest.mark.parametrize("text", TEXTS)
def test_pieces_of_a_text_are_its_bytes(model: str, text: str) -> None:
    tokenizer = whisper(model).tokenizer
    assert b"".join(tokenizer.pieces(tokenizer.encode(text))) == text.encode()


@pytest.mark.parametrize("model", [TINY, BASE])
def test_every_text_token_has_bytes(model: str) -> None:
    family = whisper(model)
    pieces = family.tokenizer.pieces(range(50_256))
    assert all(pieces)
    assert len(set(pieces)) == len(pieces)


@pytest.mark.parametrize("text", ["<|endoftext|>", "<|startoftranscript|><|en|>", " <|nospeech|>"])
def test_control_tokens_in_a_users_text_are_text(text: str) -> None:
    family = whisper(BASE)
    ids = family.tokenizer.encode(text)
    assert len(ids) > 3
    assert max(ids) < family.end_token


def test_a_cut_character_is_shown_as_such() -> None:
    tokenizer = whisper(BASE).tokenizer
    party = tokenizer.pieces(tokenizer.encode(" 🎉"))
    assert len(party) > 1
    assert text_of(party) == " 🎉"
    assert text_of(party[:-1]).endswith("�")


def test_a_token_that_is_not_there_has_no_bytes() -> None:
    assert whisper(TINY).tokenizer.pieces([10**6]) == (b"",)
