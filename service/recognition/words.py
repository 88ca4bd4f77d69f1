"""Tokens in; words out: which tokens make a word, and where punctuation belongs.

As the original does (openai/whisper, `tokenizer.py` and `timing.py`), but for what is written without a space: `10:30`,
`so-called` and `aujourd'hui` are one word here, two there.
"""

from codecs import getincrementaldecoder
from collections.abc import Sequence
from itertools import accumulate

_BEFORE = frozenset("\"'“¿¡([{-–—«„")
_AFTER = frozenset("\"'.。,，!！?？:：;；…”)]}、»")
_EITHER = _BEFORE & _AFTER

UNSPACED_LANGUAGES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Scripts without spaces: every character is a word."""


def word_lengths(pieces: Sequence[bytes], language: str) -> tuple[int, ...]:
    """How many tokens each word takes; the sum is the number of pieces. Punctuation goes with its word."""
    lengths = _characters(pieces)
    if language not in UNSPACED_LANGUAGES:
        lengths = _joined_at_spaces(pieces, lengths)
    return _with_punctuation(pieces, lengths)


def _characters(pieces: Sequence[bytes]) -> list[int]:
    """The shortest runs of tokens that end with a character; bytes that can never become one count as one."""
    decoder = getincrementaldecoder("utf-8")("replace")
    lengths = [0]
    for piece in pieces:
        lengths[-1] += 1
        decoder.decode(piece)
        cut, _ = decoder.getstate()
        if not cut:
            lengths.append(0)
    return [length for length in lengths if length]


def _joined_at_spaces(pieces: Sequence[bytes], lengths: Sequence[int]) -> list[int]:
    joined: list[int] = []
    for text, length in zip(_texts(pieces, lengths), lengths, strict=True):
        if text.startswith(" ") or not joined:
            joined.append(length)
        else:
            joined[-1] += length
    return joined


def _with_punctuation(pieces: Sequence[bytes], lengths: Sequence[int]) -> tuple[int, ...]:
    """Opening marks join the word behind them, closing marks the word before them."""
    merged: list[int] = []
    opening = 0
    for text, length in zip(_texts(pieces, lengths), lengths, strict=True):
        if _opens(text):
            opening += length
        elif merged and not opening and _closes(text):
            merged[-1] += length
        else:
            merged.append(opening + length)
            opening = 0
    if opening:
        merged.append(opening)
    return tuple(merged)


def _opens(text: str) -> bool:
    return text.startswith(" ") and set(text.strip()) <= _BEFORE


def _closes(text: str) -> bool:
    """A mark that may open as well closes only where it follows without a space."""
    marks = set(text.strip())
    return bool(marks) and marks <= _AFTER and not (text.startswith(" ") and marks & _EITHER)


def _texts(pieces: Sequence[bytes], lengths: Sequence[int]) -> list[str]:
    ends = list(accumulate(lengths))
    return [
        b"".join(pieces[end - length : end]).decode("utf-8", errors="replace")
        for end, length in zip(ends, lengths, strict=True)
    ]
