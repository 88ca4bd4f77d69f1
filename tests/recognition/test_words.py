import numpy as np
import pytest

from service.recognition.tokenizer import text_of
from service.recognition.words import word_lengths
from tests.recognition.models import BASE, TINY, whisper


def pieces(text: str, model: str = BASE) -> tuple[bytes, ...]:
    tokenizer = whisper(model).tokenizer
    return tokenizer.pieces(tokenizer.encode(text))


def words(parts: tuple[bytes, ...], language: str = "en") -> list[str]:
    lengths = word_lengths(parts, language)
    assert sum(lengths) == len(parts)
    assert all(lengths)
    ends = np.cumsum(lengths)
    return [text_of(parts[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", " The| quick,| brown| fox| doesn't| jump."),
        ("en", " It's| 10:30| – isn't| it?"),
        ("en", ' He| said:| "Hello,| world!"| Then| left.'),
        ("en", " (Really)| so-called| re-entry…"),
        ("en", " antidisestablishmentarianism| twice"),
        ("fr", " L'homme| n'est| pas| là,| aujourd'hui."),
        ("fr", " « Bonjour »,| dit-il.| Ça| va ?"),
        ("de", " „Größe“| überall:| Straße!"),
        ("es", " ¿Qué| tal?| ¡Hola!"),
        ("hi", " ऊँट| के| मुँह| में| जीरा"),
        ("ko", " 안녕| 세상"),
        ("en", " a| 🎉| 👩‍🚀| party"),
        ("zh", "你|好|世|界。"),
        ("ja", "こ|ん|に|ち|は|世|界！"),
        ("th", "ส|ว|ั|ส|ด|ี"),
    ],
)
def test_words_of_a_text(language: str, text: str) -> None:
    expected = text.split("|")
    found = words(pieces("".join(expected)), language)
    if language in {"zh", "ja", "th"}:  # a token may hold several characters
        assert "".join(found) == "".join(expected)
        assert len(found) > 1
        assert found[-1].strip("。！")
    else:
        assert found == expected


def test_characters_are_words_where_no_spaces_are() -> None:
    assert words(tuple(character.encode() for character in "你好世界。"), "zh") == ["你", "好", "世", "界。"]


def test_a_character_split_over_tokens_is_never_divided() -> None:
    party = "🎉".encode()
    assert words((b" a", b" " + party[:2], party[2:3], party[3:], b"b"), "en") == [" a", " 🎉b"]
    assert words((party[:1], party[1:], party[:3], party[3:]), "zh") == ["🎉", "🎉"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_bytes_that_are_no_text_do_not_swallow_what_follows(language: str) -> None:
    found = words((b" one", b" \x80", b" two", b" \xf0\x9f", b" three", b"\xc3"), language)
    assert found[0] == " one"
    assert " two" in found
    assert any(" three" in word for word in found)


@pytest.mark.parametrize("text", ["...", '"', " -", "?!", "«»", " ( ", "。。", "' ' '"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_punctuation_alone_is_a_word(text: str, language: str) -> None:
    assert "".join(words(pieces(text), language)) == text


def test_nothing_has_no_words() -> None:
    assert word_lengths((), "en") == ()


def test_an_opening_mark_goes_with_the_word_behind_it() -> None:
    assert words((b" said", b' "', b"Hi", b'"', b" he"), "en") == [" said", ' "Hi"', " he"]
    assert words((b" said", b' "'), "en") == [" said", ' "']


@pytest.mark.parametrize("model", [TINY, BASE])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_any_tokens_are_shared_out_among_words(model: str, language: str) -> None:
    rng = np.random.default_rng(7)
    tokenizer = whisper(model).tokenizer
    for count in (1, 2, 3, 7, 30, 200):
        parts = tokenizer.pieces(rng.integers(0, 50_000, count).tolist())
        assert words(parts, language)
