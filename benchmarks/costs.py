"""One variant in; its bytes, its memory and its times on this device out. For a process of its own each."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.memory import resident
from benchmarks.pipeline import backend
from model_store.manifest import Runtime
from service.audio.types import MAX_WINDOW_S
from service.engine.forming import Point
from service.engine.lanes import BUCKETS
from service.engine.timing import encodings, steppings
from service.recognition import families
from service.recognition.recognizer import Recognizer

TOKENS = 100
"""Of a window of 30 s: what people say in so long."""

WEIGHTS = (".onnx", ".safetensors")


@dataclass(frozen=True, slots=True)
class Variant:
    """Where it lies and how it is to be loaded; `exact` has OpenVINO compute in float32."""

    name: str
    folder: Path
    runtime: Runtime
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What a variant takes; windows are of 30 s.

    Attributes:
        file_mb: of the files that hold weights.
        weights_mb: the same where torch computes; None for other runtimes, which do not tell.
        peak_mb: the most that was taken of the GPU; on a CPU the most that was resident of the process, its libraries
            included, which are 200 to 300 MB with torch.
        encode_ms: of one window alone.
        encode_batch_ms: of a window in the encoder batch where that is least.
        step_ms: of a decoder step, by rows.
        windows_s: windows a second: by the least of the encodings and TOKENS steps of the most rows.
    """

    file_mb: float
    weights_mb: float | None
    peak_mb: float
    encode_ms: float
    encode_batch_ms: float
    step_ms: Mapping[int, float]
    windows_s: float


def cost(variant: Variant, rows: tuple[int, ...], *, threads: int) -> Cost:
    """Load it and time it, on noise: what is said changes no time."""
    made = backend(variant.folder, variant.runtime, threads=threads, exact=variant.exact)
    recognizer = Recognizer(made, families.load(variant.folder))
    recognizer.warmup()
    encoded = encodings(recognizer, (float(MAX_WINDOW_S),))
    stepped = steppings(recognizer, BUCKETS[-1:], most_rows=max(rows))
    batch_ms = min(point.ms / point.rows for point in encoded)
    files = sum(path.stat().st_size for path in variant.folder.iterdir() if path.suffix in WEIGHTS)
    peak_bytes = gpu_peak_bytes() or resident(os.getpid(), "").most * 2**20
    return Cost(
        file_mb=files / 1e6,
        weights_mb=made.memory_bytes / 1e6 if variant.runtime == "torch" else None,
        peak_mb=peak_bytes / 1e6,
        encode_ms=encoded[0].ms,
        encode_batch_ms=batch_ms,
        step_ms={point.rows: point.ms for point in stepped if point.rows in rows},
        windows_s=windows_a_second(batch_ms, stepped),
    )


def middle(found: Sequence[Cost]) -> Cost:
    """Of the same variant, measured several times: the median of each time, and the most memory."""
    encode, batch, windows = (
        median(getattr(one, name) for one in found) for name in ("encode_ms", "encode_batch_ms", "windows_s")
    )
    steps = {rows: median(one.step_ms[rows] for one in found) for rows in found[0].step_ms}
    peak = max(one.peak_mb for one in found)
    return replace(found[0], peak_mb=peak, encode_ms=encode, encode_batch_ms=batch, step_ms=steps, windows_s=windows)


def gpu_peak_bytes() -> int:
    """The most that torch had of a GPU, without what CUDA itself takes; 0 if it used none."""
    if "torch" not in sys.modules:
        return 0
    from service.backends.torch.devices import peak_bytes  # noqa: PLC0415 - torch is slow to import

    return peak_bytes()


def windows_a_second(encode_ms: float, steps: tuple[Point, ...]) -> float:
    """If encoder batches and steps of the most rows follow each other and nothing else is done."""
    most = max(steps, key=lambda point: point.rows, default=None)
    return 1e3 / (encode_ms + TOKENS * most.ms / most.rows) if most else math.nan
