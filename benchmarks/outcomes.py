"""What variants make of single windows: recordings in; each window's segments, and what they took, out.

They can be kept as JSON lines, so that what would be decided by them is tried out without computing anything again.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmarks import report
from benchmarks.local import variant
from benchmarks.pipeline import load, waveform
from benchmarks.speech import Utterance
from model_store.evaluate.datasets import digest
from service.audio.types import Window
from service.recognition.recognizer import Recognizer
from service.recognition.types import Options, Segment


class Outcome(BaseModel):
    """What the recogniser made of a window of a recording, in so many processor seconds."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    audio: str
    duration_s: float
    seconds: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)


Outcomes = dict[str, list[Outcome]]
"""The windows of each recording in order, by the recording's name."""


@dataclass(frozen=True)
class Listener:
    """Hears recordings; outcomes are kept in a file for each variant, packing and set of recordings."""

    asked: argparse.Namespace
    utterances: Sequence[Utterance]
    kept: Path | None

    def outcomes(self, names: Sequence[str], *, target_s: float) -> dict[str, Outcomes]:
        """What each variant makes of windows that are packed to `target_s`."""
        kept = {name: [*self._read(name, target_s)] for name in names}
        found = kept | self._heard([name for name in names if not kept[name]], target_s)
        return {name: _by_recording(found[name]) for name in names}

    def _file(self, name: str, target_s: float) -> Path | None:
        build = variant(self.asked.store, name).digest[:8]
        named = f"{name.replace(':', '-')}-{build}-{target_s:g}s-{digest(self.utterances)[:8]}.jsonl"
        return self.kept / named if self.kept else None

    def _read(self, name: str, target_s: float) -> Iterator[Outcome]:
        file = self._file(name, target_s)
        lines = file.read_bytes().splitlines() if file and file.exists() else []
        return map(Outcome.model_validate_json, lines)

    def _heard(self, names: Sequence[str], target_s: float) -> dict[str, list[Outcome]]:
        """In turn, window by window: what else the machine does then slows them all alike."""
        pipelines = {name: load(self.asked, name) for name in names}
        found: dict[str, list[Outcome]] = {name: [] for name in names}
        for u in report.progress(self.utterances if names else (), "windows"):
            for window in pipelines[names[0]].windows(waveform(u), target_s=target_s):
                for name, pipeline in pipelines.items():
                    found[name].append(_outcome(pipeline.recognizer, u, window))
        for name, outcomes in found.items():
            self._keep(name, target_s, outcomes)
        return found

    def _keep(self, name: str, target_s: float, outcomes: Sequence[Outcome]) -> None:
        file = self._file(name, target_s)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{one.model_dump_json()}\n" for one in outcomes), encoding="utf-8")


def _outcome(recognizer: Recognizer, u: Utterance, window: Window) -> Outcome:
    started = time.process_time()
    (part,) = recognizer.recognize([window], Options(language=u.lang))
    seconds = time.process_time() - started
    return Outcome(audio=u.name, duration_s=window.duration_s, seconds=seconds, segments=part.segments)


def _by_recording(outcomes: Sequence[Outcome]) -> Outcomes:
    found: Outcomes = defaultdict(list)
    for one in outcomes:
        found[one.audio].append(one)
    return found
