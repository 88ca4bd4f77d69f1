"""How long do speech detection and packing take, and is any speech lost?

python -m benchmarks.vad_speed [--data DIR] [--threads N]: each folder of recordings in DIR is a row of table two.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime as ort
import soundfile
import soxr

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--store", type=Path, default=Path(os.environ.get("WREN_STORE", ".store")))
    asked = parser.parse_args()
    fast, original = (
        SpeechDetector(asked.store / "silero-vad" / variant / "vad.onnx", threads=asked.threads)
        for variant in ("fp32", "original")
    )
    rows = list(speeds(fast, original))
    print(" audio s  original ms  network ms  spans ms  windows ms  x real time")
    for row in rows:
        times = f"{row.original_ms:11.2f} {row.network_ms:11.2f} {row.spans_ms:9.2f} {row.windows_ms:11.2f}"
        print(f"{row.audio_s:8} {times} {row.real_time:12.0f}")
    shares = list(kept(fast, asked.data)) if asked.data else []
    for share in shares:
        print(f"{share.name:<20}{share.files:4} files, {share.without_span} without a span, ", end="")
        print(f"loud frames kept {share.mean:.4f}, of the worst {share.least:.4f}")
    record = {"threads": asked.threads, "cores": os.cpu_count(), "onnxruntime": ort.__version__}
    print(json.dumps(record | {"speed": [asdict(r) for r in rows], "kept": [asdict(s) for s in shares]}))


if __name__ == "__main__":
    main()
