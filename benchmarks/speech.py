"""Recordings with their references, as `wren evaluate` reads and scores them, and the groups that get a row.

Without a folder of data those of pytest-audioeval. A long recording has its sentences beside it, in a JSON file.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import soundfile

from model_store.evaluate import datasets
from model_store.evaluate.layouts import Utterance
from model_store.evaluate.scoring import Scored, score, wer

__all__ = ["LONG", "PACKAGED", "POOLED", "Scored", "Utterance", "groups", "load", "score", "sentences", "wer"]

POOLED = ("libri_eval", "libri_trainclean5", "ljspeech", "asterisk_en", "misc_read")
"""Read English: the sets that are judged together."""

LONG = "longform"
"""Recordings of many minutes: listed, never pooled with the others."""

PACKAGED = "audioeval"
"""The set that pytest-audioeval carries."""


@dataclass(frozen=True)
class Sentence:
    """A stretch of a long recording. `start_s` is where its recording was put in, silence at its head included."""

    start_s: float
    end_s: float
    text: str


def load(data: Path | None, sets: Sequence[str], *, languages: Sequence[str] = ()) -> list[Utterance]:
    """Utterances of the sets in order, those without a reference left out; every language if none is named."""
    if data:
        return list(datasets.read(data, sets=sets, languages=languages))
    return [u for u in _packaged() if not languages or u.lang in languages]


def _packaged() -> Iterable[Utterance]:
    folder = Path(str(files("pytest_audioeval") / "samples/audio"))
    for path in sorted(folder.rglob("*.wav")):
        text = path.with_suffix(".txt").read_text().strip()
        audio = path.relative_to(folder).as_posix()
        yield Utterance(PACKAGED, audio, path, text, path.parent.name, soundfile.info(path).duration)


def sentences(utterance: Utterance) -> list[Sentence]:
    segments = utterance.path.with_suffix(".segments.json")
    if not segments.exists():
        return []
    return [Sentence(row["start"], row["end"], row["text"]) for row in json.loads(segments.read_text())]


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
