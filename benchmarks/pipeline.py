"""A variant without the engine around it, so that a benchmark can turn what the engine has settled."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from benchmarks.local import variant
from benchmarks.speech import Utterance
from model_store.manifest import Runtime
from model_store.registry import Registry
from service.audio.decode import decode
from service.audio.resample import Limits
from service.audio.types import Samples, VadOptions, Window
from service.audio.vad import SpeechDetector
from service.audio.windows import windows
from service.backends.base import Backend
from service.backends.onnx import OnnxBackend
from service.engine.engine import DETECTOR
from service.recognition import families
from service.recognition.families.base import Family
from service.recognition.recognizer import Recognizer

LIMITS = Limits(max_duration_s=4 * 3600)


@dataclass(frozen=True)
class Pipeline:
    folder: Path
    backend: Backend
    family: Family
    detector: SpeechDetector

    @property
    def recognizer(self) -> Recognizer:
        return Recognizer(self.backend, self.family)

    def windows(self, samples: Samples, *, vad: bool = True, target_s: float | None = None) -> tuple[Window, ...]:
        spans = self.detector.spans(samples, VadOptions(enabled=vad))
        family = self.family
        return windows(samples, spans, target_s=target_s or family.target_window_s, max_s=family.max_window_s)


def backend(folder: Path, runtime: Runtime, *, threads: int, exact: bool = False) -> Backend:
    """A variant in memory: one for torch on the first device of WREN_DEVICE, the others on the CPU.

    `exact` has OpenVINO compute in float32.
    """
    if runtime == "torch":
        from benchmarks.card import device  # noqa: PLC0415 - slow to import
        from service.backends.torch.backend import TorchBackend  # noqa: PLC0415 - the same

        return TorchBackend(folder, devices=(device(),), threads=threads)
    if runtime == "openvino":
        from service.backends.openvino import OpenVinoEncoder  # noqa: PLC0415 - an extra that may not be there

        encoder = OpenVinoEncoder(folder / "encoder.onnx", threads=threads, exact=exact)
        return OnnxBackend(folder, threads=threads, encoder=encoder)
    return OnnxBackend(folder, threads=threads)


def load(asked: argparse.Namespace, model: str) -> Pipeline:
    manifest = variant(asked.store, model)
    folder = Registry(asked.store).path(manifest)
    made = Pipeline(
        folder,
        backend(folder, manifest.runtime, threads=asked.threads, exact=manifest.precision == "fp32"),
        families.load(folder),
        SpeechDetector(asked.store.joinpath(*DETECTOR)),
    )
    made.recognizer.warmup()
    return made


def waveform(u: Utterance) -> Samples:
    return decode(u.path.read_bytes(), limits=LIMITS).samples
