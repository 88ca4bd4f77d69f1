"""Hypotheses and references in, errors out.

English is compared after Whisper's English normaliser, other languages after its basic one, as the papers do. Rates are
of all words together, in percent: a long recording counts for more than a short one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import jiwer
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from model_store.evaluate.layouts import Utterance


@dataclass(frozen=True, slots=True)
class Scored:
    """One hypothesis against its reference of so many normalised words and characters."""

    utterance: Utterance
    hypothesis: str
    words: int
    substitutions: int
    deletions: int
    insertions: int
    characters: int
    character_errors: int

    @property
    def errors(self) -> int:
        """Words that are wrong."""
        return self.substitutions + self.deletions + self.insertions


def normal(text: str, lang: str) -> str:
    """What is compared of a text; nothing where nothing is said."""
    return _normalizer(english=lang == "en")(text).strip()


@cache
def _normalizer(*, english: bool) -> Callable[[str], str]:
    made: Callable[[str], str] = EnglishTextNormalizer() if english else BasicTextNormalizer(remove_diacritics=True)
    return made


def score(utterance: Utterance, hypothesis: str) -> Scored:
    """Raises ValueError where the reference has no word."""
    reference, heard = (normal(text, utterance.lang) for text in (utterance.text, hypothesis))
    words = jiwer.process_words(reference, heard)
    characters = jiwer.process_characters(reference, heard)
    return Scored(
        utterance,
        hypothesis,
        words=words.hits + words.substitutions + words.deletions,
        substitutions=words.substitutions,
        deletions=words.deletions,
        insertions=words.insertions,
        characters=characters.hits + characters.substitutions + characters.deletions,
        character_errors=characters.substitutions + characters.deletions + characters.insertions,
    )


def wer(scored: Iterable[Scored]) -> float:
    kept = list(scored)
    return 100 * sum(one.errors for one in kept) / sum(one.words for one in kept)


def cer(scored: Iterable[Scored]) -> float:
    kept = list(scored)
    return 100 * sum(one.character_errors for one in kept) / sum(one.characters for one in kept)
