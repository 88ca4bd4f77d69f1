"""Drafts of an utterance that grows, in; how much of its text is settled out. Pure.

What drafts in a row agree on will most likely stay (LocalAgreement: Liu, Spanakis and Niehues, 2020). The last words
are held back, for they may have been heard by halves.
"""

import re
from collections.abc import Sequence
from itertools import takewhile

from service.recognition.tokenizer import text_of
from service.recognition.types import Token

DRAFTS = 3
"""Drafts in a row that have to agree. Measured: docs/benchmarks.md, "Live streams"."""

HELD = 5
"""Words at the end of what is agreed on that are not settled yet. Measured: the same place."""

_WORD = re.compile(r"\s*\S+")
_SOUNDLESS = re.compile(r"[\W_]+")


def settled(*drafts: Sequence[Token], held: int = HELD) -> tuple[Token, ...]:
    """How all drafts begin, in the tokens of the last one, up to the end of a word and without the last words.

    Marks and case are no disagreement: they change with what follows, and nobody waits for them.
    """
    now = _words(drafts[-1])
    columns = zip(*(map(_told, _words(draft)) for draft in drafts), strict=False)
    same = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    return tuple(token for word in now[: max(0, same - held)] for token in word)


def _words(tokens: Sequence[Token]) -> list[list[Token]]:
    """The tokens a word: it begins with a space, but for the first."""
    words: list[list[Token]] = []
    for token in tokens:
        if not words or token.piece[:1].isspace():
            words.append([])
        words[-1].append(token)
    return words


def _told(word: Sequence[Token]) -> str:
    return _bare(text_of([token.piece for token in word]))


def continued(sent: str, text: str) -> str:
    """What to send after `sent`, which cannot be taken back, so that the whole reads as `text` does.

    Where the text does not begin like that, it goes on behind the words that stand for those that were sent: as many of
    its first words as differ least from them (Levenshtein), marks and case apart.
    """
    if text.startswith(sent) and not (sent and sent[-1].isalnum() and text[len(sent) : len(sent) + 1].isalnum()):
        return text[len(sent) :]
    words = _WORD.findall(text)
    kept = _alike([_bare(word) for word in _WORD.findall(sent)], [_bare(word) for word in words])
    rest = "".join(words[kept:])
    return f" {rest}" if rest and not rest[0].isspace() else rest


def _bare(word: str) -> str:
    return _SOUNDLESS.sub("", word).casefold()


def _alike(sent: Sequence[str], words: Sequence[str]) -> int:
    """How many of `words` differ least from all that was sent; of equals, those that end as that does, or as many."""
    row = list(range(len(words) + 1))
    for number, word in enumerate(sent, start=1):
        before, row = row, [number]
        for index, other in enumerate(words):
            row.append(min(before[index] + (word != other), before[index + 1] + 1, row[index] + 1))
    ends = [not count or words[count - 1] != sent[-1] for count in range(len(row))] if sent else [False] * len(row)
    return min(range(len(row)), key=lambda count: (row[count], ends[count], abs(count - len(sent))))
