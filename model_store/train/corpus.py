"""Recordings of any kind in; their samples as 16-bit PCM in one file on disk, read a stretch at a time.

A compressed recording of half an hour cannot be opened in its middle without decoding what is before; a mapped file
can. It is made once, and the system keeps of it in memory what it has room for.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.evaluate.layouts import Utterance
from service.audio.decode import Limits, decode
from service.audio.types import SAMPLE_RATE, Samples
from service.errors import WrenError

_FULL_SCALE = 32_767
_LONGEST_S = 24 * 3600.0


@dataclass(frozen=True)
class Recording:
    """Where in the file a recording lies, in samples, and what is known of it."""

    name: str
    first: int
    samples: int
    lang: str
    text: str

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE


@dataclass(frozen=True)
class Corpus:
    """Recordings in a file."""

    path: Path
    recordings: tuple[Recording, ...]

    @classmethod
    def of(
        cls, utterances: Sequence[Utterance], folder: Path, *, report: Callable[[str], None] = lambda _: None
    ) -> "Corpus":
        """The file of these recordings in `folder`, made if it is not there; what cannot be decoded is left out."""
        path = folder / f"corpus-{_digest(utterances)}.s16"
        index = path.with_suffix(".json")
        if not index.exists():
            folder.mkdir(parents=True, exist_ok=True)
            rows = _written(utterances, path, report)
            draft = index.with_suffix(".part")
            draft.write_text(json.dumps(rows))
            draft.replace(index)
        return cls(path, tuple(Recording(**row) for row in json.loads(index.read_text())))

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.recordings)

    def read(self, recording: Recording, first: int, samples: int) -> Samples:
        """A stretch of a recording, from its sample `first` on."""
        begin = recording.first + first
        end = min(begin + samples, recording.first + recording.samples)
        return sounding(self._pcm[begin:end])

    @cached_property
    def _pcm(self) -> npt.NDArray[np.int16]:
        return np.memmap(self.path, np.int16, "r")


def sounding(kept: npt.NDArray[np.int16]) -> Samples:
    """The inverse of `pcm`."""
    return kept.astype(np.float32) / np.float32(_FULL_SCALE)


def pcm(samples: Samples) -> npt.NDArray[np.int16]:
    """As a file keeps them."""
    return np.round(np.clip(samples, -1, 1) * _FULL_SCALE).astype(np.int16)


def _digest(utterances: Sequence[Utterance]) -> str:
    """Of the files by name, size and time, and of the texts."""
    summed = hashlib.sha256()
    for one in utterances:
        facts = one.path.stat()
        summed.update(f"{one.path}\t{facts.st_size}\t{facts.st_mtime_ns}\t{one.lang}\t{one.text}\n".encode())
    return summed.hexdigest()[:16]


def _written(utterances: Sequence[Utterance], path: Path, report: Callable[[str], None]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    first = 0
    with path.open("wb") as file:
        for one in utterances:
            try:
                samples = pcm(decode(one.path, limits=Limits(max_duration_s=_LONGEST_S)).samples)
            except WrenError as error:
                report(f"{one.name} is left out: {error}")
                continue
            file.write(samples.tobytes())
            rows.append({"name": one.name, "first": first, "samples": len(samples), "lang": one.lang, "text": one.text})
            first += len(samples)
        file.flush()
        os.fsync(file.fileno())
    return rows
