"""How long do speech detection and packing take, and is any speech lost?

python -m benchmarks.vad_speed [--data DIR] [--threads N]: each folder of recordings in DIR is a row of table two.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks import options, report
from service.audio.pauses import FRAME, levels
from service.audio.types import SAMPLE_RATE, Samples, Span, VadOptions
from service.audio.vad import SpeechDetector
from service.audio.windows import windows

OPTIONS = VadOptions()
LENGTHS_S = (1, 10, 60, 1800)
SUFFIXES = {".flac", ".ogg", ".mp3", ".wav"}

LOUD_DB = -25
"""Below the 95th percentile of a file's levels: louder frames are taken for speech."""


@dataclass(frozen=True)
class Speed:
    audio_s: int
    original_ms: float
    network_ms: float
    spans_ms: float
    windows_ms: float

    @property
    def real_time(self) -> float:
        return self.audio_s * 1000 / (self.spans_ms + self.windows_ms)


@dataclass(frozen=True)
class Kept:
    name: str
    files: int
    without_span: int
    mean: float
    least: float


def best_ms(call: Callable[[], object], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times) * 1000


def read(path: Path) -> Samples:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE), np.float32)


def speeds(detector: SpeechDetector, original: SpeechDetector) -> Iterator[Speed]:
    clips = sorted(Path(str(files("pytest_audioeval") / "samples/audio")).rglob("*.wav"))
    speech = np.concatenate([read(clip) for clip in clips])
    for length_s in LENGTHS_S:
        yield speed(np.resize(speech, length_s * SAMPLE_RATE), detector, original)


def speed(samples: Samples, detector: SpeechDetector, original: SpeechDetector) -> Speed:
    length_s = len(samples) // SAMPLE_RATE
    repeats = 30 if length_s < 100 else 2
    spans = detector.spans(samples, OPTIONS)
    return Speed(
        audio_s=length_s,
        original_ms=best_ms(lambda: original.chunk_probabilities(samples), repeats),
        network_ms=best_ms(lambda: detector.chunk_probabilities(samples), repeats),
        spans_ms=best_ms(lambda: detector.spans(samples, OPTIONS), repeats),
        windows_ms=best_ms(lambda: windows(samples, spans), repeats),
    )


def kept_share(samples: Samples, spans: tuple[Span, ...]) -> float:
    level = levels(samples)
    loud = level > np.percentile(level, 95) * 10 ** (LOUD_DB / 10)
    kept = np.zeros(len(level), bool)
    for span in spans:
        kept[span.start // FRAME : -(-span.end // FRAME)] = True
    return float(np.mean(kept[loud]))


def kept(detector: SpeechDetector, data: Path) -> Iterator[Kept]:
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        recordings = [read(path) for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
        if recordings:
            found = [detector.spans(samples, OPTIONS) for samples in recordings]
            shares = [kept_share(samples, spans) for samples, spans in zip(recordings, found, strict=True)]
            lost = sum(not spans for spans in found)
            yield Kept(folder.name, len(shares), lost, float(np.mean(shares)), min(shares))


def main() -> None:
    asked = options.parser(__doc__).parse_args()
    fast, original = (
        SpeechDetector(asked.store / "silero-vad" / variant / "vad.onnx", threads=asked.threads)
        for variant in ("fp32", "original")
    )
    rows = list(speeds(fast, original))
    columns = ["audio s", "original ms", "network ms", "spans ms", "windows ms", "times real time"]
    report.show("Speech detection and packing", columns, [[*astuple(row), round(row.real_time)] for row in rows])
    shares = list(kept(fast, asked.data)) if asked.data else []
    if shares:
        columns = ["", "files", "without a span", "loud frames kept, %", "of the worst file, %"]
        cells = [[one.name, one.files, one.without_span, 100 * one.mean, 100 * one.least] for one in shares]
        report.show("Is any speech lost?", columns, cells)
    found = {"speed": [asdict(row) for row in rows], "kept": [asdict(share) for share in shares]}
    report.record("vad_speed", threads=asked.threads, **found)


if __name__ == "__main__":
    main()
