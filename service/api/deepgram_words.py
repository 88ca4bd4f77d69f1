"""Segments in, the words of Deepgram's answers out, and how they make sentences, paragraphs and utterances. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from service.errors import OptionError
from service.recognition.types import Segment, Word

MOST_WORDS_BYTES = 8 * 2**10
"""Of all words to expect, which every part of a stream is heard with."""

PARAGRAPH_SENTENCES = 5
PARAGRAPH_PAUSE_S = 1.5
"""A paragraph ends with its fifth sentence, or where somebody pauses between sentences, whichever is first."""

_EDGES = re.compile(r"^\W+|\W+$")
_TAIL = re.compile(r"\W*$")
_SENTENCE_END = re.compile(r"[.?!。？！…][\"'”’)\]]*$")


@dataclass(frozen=True, slots=True)
class Replacement:
    """Words, as `bare` has them, in whose place something else is written; nothing if `text` is empty."""

    find: tuple[str, ...]
    text: str


def check_words(words: Iterable[str], *, param: str) -> None:
    """See that there are not too many words to expect.

    Raises:
        OptionError: they are too long together.
    """
    if sum(len(word.encode()) for word in words) > MOST_WORDS_BYTES:
        raise OptionError(f"The words of '{param}' are over {MOST_WORDS_BYTES} bytes. Leave some out.", param=param)


def bare(word: str) -> str:
    """In lower case without the punctuation around it; of punctuation alone, itself."""
    text = word.strip()
    return (_EDGES.sub("", text) or text).lower()


def words_of(segments: Iterable[Segment], replacements: Sequence[Replacement] = ()) -> tuple[Word, ...]:
    """All words; those of a model that does not tell when each was said share the time of their segment evenly."""
    words = [word for segment in segments for word in segment.words or _spread(segment)]
    for replacement in replacements:
        words = _replaced(words, replacement)
    return tuple(words)


def text_of(words: Iterable[Word]) -> str:
    return "".join(word.text for word in words).strip()


def confidence_of(words: Sequence[Word]) -> float:
    """The mean; 0 where nothing was said, as Deepgram has it."""
    return sum(word.confidence for word in words) / len(words) if words else 0.0


def utterances(words: Sequence[Word], *, gap_s: float) -> list[tuple[Word, ...]]:
    """Runs of words with no pause of `gap_s` or longer between two."""
    pauses = [after.start_s - before.end_s >= gap_s for before, after in pairwise(words)]
    return _cut(words, pauses)


def sentences(words: Sequence[Word]) -> list[tuple[Word, ...]]:
    return _cut(words, [_SENTENCE_END.search(word.text.strip()) is not None for word in words[:-1]])


def paragraphs(words: Sequence[Word]) -> list[list[tuple[Word, ...]]]:
    """Sentences, by paragraph."""
    gathered: list[list[tuple[Word, ...]]] = []
    for sentence in sentences(words):
        current = gathered[-1] if gathered else []
        pause_s = sentence[0].start_s - current[-1][-1].end_s if current else 0.0
        if not current or len(current) >= PARAGRAPH_SENTENCES or pause_s >= PARAGRAPH_PAUSE_S:
            gathered.append([])
        gathered[-1].append(sentence)
    return gathered


def _cut(words: Sequence[Word], ends: Sequence[bool]) -> list[tuple[Word, ...]]:
    """The words in runs; `ends` tells of each but the last whether it ends one."""
    starts = [0, *(number + 1 for number, ended in enumerate(ends) if ended), len(words)]
    return [tuple(words[start:end]) for start, end in pairwise(starts) if end > start]


def _spread(segment: Segment) -> list[Word]:
    texts = segment.text.split()
    step_s = (segment.end_s - segment.start_s) / max(1, len(texts))
    return [
        Word(f" {text}", segment.start_s + number * step_s, segment.start_s + (number + 1) * step_s, segment.confidence)
        for number, text in enumerate(texts)
    ]


def _replaced(words: list[Word], replacement: Replacement) -> list[Word]:
    length = len(replacement.find)
    bared = [bare(word.text) for word in words]
    done: list[Word] = []
    at = 0
    while at < len(words):
        if tuple(bared[at : at + length]) == replacement.find:
            done.extend(_written(words[at : at + length], replacement.text))
            at += length
        else:
            done.append(words[at])
            at += 1
    return done


def _written(found: Sequence[Word], text: str) -> list[Word]:
    """Other text in the place of words, with the punctuation that came after them."""
    if not text:
        return []
    first, last = found[0], found[-1]
    tail = _TAIL.search(last.text)
    space = " " if first.text.startswith(" ") else ""
    written = f"{space}{text}{tail.group() if tail else ''}"
    return [replace(first, text=written, end_s=last.end_s, confidence=confidence_of(found))]
