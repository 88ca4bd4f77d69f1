"""Tokens in; words out: which tokens make a word, and where punctuation belongs.

The rules are the original's (openai/whisper, `tokenizer.py` and `timing.py`).
"""

from collections.abc import Sequence
from itertools import accumulate

_BEFORE = frozenset("\"'“¿([{-«„")
_AFTER = frozenset("\"'.。,，!！?？:：”)]}、»")

UNSPACED_LANGUAGES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Scripts without spaces: every character is a word."""


def word_lengths(pieces: Sequence[bytes], language: str) -> tuple[int, ...]:
    """How many tokens each word takes; the sum is the number of pieces. Punctuation goes with its word."""
    lengths = _characters(pieces)
    if language not in UNSPACED_LANGUAGES:
        lengths = _joined_at_spaces(pieces, lengths)
    return _with_punctuation(pieces, lengths)


def _characters(pieces: Sequence[bytes]) -> list[int]:
    """The shortest runs of tokens that are whole characters."""
    lengths, pending = [0], b""
    for piece in pieces:
        lengths[-1] += 1
        pending += piece
        if _whole(pending):
            lengths.append(0)
            pending = b""
    return [length for length in lengths if length]


def _whole(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def _joined_at_spaces(pieces: Sequence[bytes], lengths: Sequence[int]) -> list[int]:
    joined: list[int] = []
    for text, length in zip(_texts(pieces, lengths), lengths, strict=True):
        if text.startswith(" ") or _punctuation(text) or not joined:
            joined.append(length)
        else:
            joined[-1] += length
    return joined


def _with_punctuation(pieces: Sequence[bytes], lengths: Sequence[int]) -> tuple[int, ...]:
    """Opening marks join the word behind them, closing marks the word before them."""
    merged: list[int] = []
    opening = 0
    for text, length in zip(_texts(pieces, lengths), lengths, strict=True):
        mark = text.strip()
        if text.startswith(" ") and mark and mark in _BEFORE:
            opening += length
        elif merged and not opening and not text.startswith(" ") and mark and all(c in _AFTER for c in mark):
            merged[-1] += length
        else:
            merged.append(opening + length)
            opening = 0
    if opening:
        merged.append(opening)
    return tuple(merged)


def _punctuation(text: str) -> bool:
    return bool(text.strip()) and all(character in _BEFORE or character in _AFTER for character in text.strip())


def _texts(pieces: Sequence[bytes], lengths: Sequence[int]) -> list[str]:
    ends = list(accumulate(lengths))
    return [
        b"".join(pieces[end - length : end]).decode("utf-8", errors="replace")
        for end, length in zip(ends, lengths, strict=True)
    ]
