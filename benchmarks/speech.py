"""Recordings with their references in, word errors out.

A set is a folder with recordings and a `manifest.jsonl`, one JSON object a line: audio, text, lang, duration_s, and for
long recordings the name of a file of segments. English is compared after Whisper's English normaliser, other languages
after its basic one, as the papers do.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jiwer
import soundfile
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

POOLED = ("libri_eval", "libri_trainclean5", "ljspeech", "asterisk_en", "misc_read")
"""Read English: the sets that are judged together."""

LONG = "longform"
"""Recordings of many minutes: listed, never pooled with the others."""

PACKAGED = "audioeval"
"""The set that pytest-audioeval carries."""

_ENGLISH, _BASIC = EnglishTextNormalizer(), BasicTextNormalizer(remove_diacritics=True)


@dataclass(frozen=True)
class Utterance:
    set_name: str
    path: Path
    text: str
    lang: str
    duration_s: float
    segments: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.set_name}/{self.path.name}"


@dataclass(frozen=True)
class Sentence:
    """A stretch of a long recording. `start_s` is where its recording was put in, silence at its head included."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Scored:
    """One transcript against its reference, in normalised words."""

    utterance: Utterance
    hypothesis: str
    errors: int
    words: int


def load(data: Path | None, sets: Sequence[str], *, languages: Sequence[str] = ()) -> list[Utterance]:
    """Utterances of the sets in order, those without a reference left out; every language if none is named."""
    found = [u for name in sets for u in (_manifest(data / name) if data else _packaged())]
    return [u for u in found if normal(u.text, u.lang) and (not languages or u.lang in languages)]


def _manifest(folder: Path) -> Iterator[Utterance]:
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        segments = folder / row["segments"] if "segments" in row else None
        yield Utterance(folder.name, folder / row["audio"], row["text"], row["lang"], row["duration_s"], segments)


def _packaged() -> Iterator[Utterance]:
    for path in sorted(Path(str(files("pytest_audioeval") / "samples/audio")).rglob("*.wav")):
        text = path.with_suffix(".txt").read_text().strip()
        yield Utterance(PACKAGED, path, text, path.parent.name, soundfile.info(path).duration)


def sentences(utterance: Utterance) -> list[Sentence]:
    if utterance.segments is None:
        return []
    return [Sentence(row["start"], row["end"], row["text"]) for row in json.loads(utterance.segments.read_text())]


def normal(text: str, lang: str) -> str:
    return str((_ENGLISH if lang == "en" else _BASIC)(text)).strip()


def score(utterance: Utterance, hypothesis: str) -> Scored:
    found = jiwer.process_words(normal(utterance.text, utterance.lang), normal(hypothesis, utterance.lang))
    errors = found.substitutions + found.deletions + found.insertions
    return Scored(utterance, hypothesis, errors, found.hits + found.substitutions + found.deletions)


def wer(scored: Iterable[Scored]) -> float:
    """Of all words together, in percent."""
    kept = list(scored)
    return 100 * sum(one.errors for one in kept) / sum(one.words for one in kept)


def groups(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """What gets a row: each set and language, the languages over all sets, and all but the long ones together."""
    rows: dict[str, list[Utterance]] = defaultdict(list)
    languages: dict[str, list[Utterance]] = defaultdict(list)
    for u in utterances:
        rows[u.set_name if u.lang == "en" else f"{u.set_name} {u.lang}"].append(u)
        if u.set_name != LONG:
            languages[f"all {u.lang}"].append(u)
    if len(languages) > 1:
        rows |= languages
    pooled = [u for group in languages.values() for u in group]
    return {**rows, "pooled": pooled} if pooled else dict(rows)
