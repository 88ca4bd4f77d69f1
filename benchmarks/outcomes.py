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

    def outcomes(self, name: str, *, target_s: float) -> Outcomes:
        """What a variant makes of windows that are packed to `target_s`."""
        if self.kept is None:
            return _by_recording(self._heard(name, target_s))
        build = variant(self.asked.store, name).digest[:8]
        file = self.kept / f"{name.replace(':', '-')}-{build}-{target_s:g}s-{digest(self.utterances)[:8]}.jsonl"
        if not file.exists():
            lines = [one.model_dump_json() for one in self._heard(name, target_s)]
            self.kept.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return _by_recording(map(Outcome.model_validate_json, file.read_bytes().splitlines()))

    def _heard(self, name: str, target_s: float) -> Iterator[Outcome]:
        pipeline = load(self.asked, name)
        for u in report.progress(self.utterances, name):
            for window in pipeline.windows(waveform(u), target_s=target_s):
                yield _outcome(pipeline.recognizer, u, window)


def _outcome(recognizer: Recognizer, u: Utterance, window: Window) -> Outcome:
    started = time.process_time()
    (part,) = recognizer.recognize([window], Options(language=u.lang))
    seconds = time.process_time() - started
    return Outcome(audio=u.name, duration_s=window.duration_s, seconds=seconds, segments=part.segments)


def _by_recording(outcomes: Iterator[Outcome]) -> Outcomes:
    found: Outcomes = defaultdict(list)
    for one in outcomes:
        found[one.audio].append(one)
    return found
