"""The engine on this machine: recordings in, transcripts out.

Decoding, speech detection and cutting run in a small pool of threads, recognition in one thread of its own, a group of
windows at a time: between two groups of a long recording, whoever waits gets a turn.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from model_store.errors import NotInStore
from model_store.manifest import Manifest
from model_store.registry import Registry
from service.audio.decode import decode
from service.audio.resample import Limits
from service.audio.types import Window
from service.audio.vad import SpeechDetector
from service.audio.windows import windows
from service.engine.choice import SPEECH_FAMILIES, Choice, choose
from service.engine.device import read_device
from service.engine.heap import give_back
from service.engine.loaded import Loaded
from service.engine.types import ModelInfo, Request, Served
from service.errors import ModelUnavailable, Overloaded
from service.recognition.recognizer import Part, Recognizer, group_count
from service.recognition.types import Language, Segment, Transcript
from service.settings import Settings

_log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_GAP_S = 1.0
"""Seconds of silence that a segment without word times may span."""

LONG_S = 60.0
"""Seconds of a recording that leaves enough behind to be worth giving back."""

DETECTOR = ("silero-vad", "fp32", "vad.onnx")
"""Model, variant and file of the speech detector."""


@dataclass(slots=True)
class _Heard:
    """A recording cut into windows, and where the time went, milliseconds a stage."""

    windows: tuple[Window, ...]
    duration_s: float
    stage_ms: dict[str, float] = field(default_factory=dict)


class LocalEngine:
    """See `service.engine.types.Engine`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._device = read_device()
        self._registry = Registry(settings.store)
        threads = settings.threads or self._device.cores
        self._loaded = Loaded(self._registry, threads=threads)
        self._hearing = ThreadPoolExecutor(self._device.cores, thread_name_prefix="wren-audio")
        self._computing = ThreadPoolExecutor(1, thread_name_prefix="wren-compute")
        self._detector: SpeechDetector | None = None
        self._waiting_s = 0.0
        self._speed = 10.0  # seconds of audio a second, until a recording has shown it

    async def start(self) -> None:
        """Load the speech detector and the default variant, and warm both up; a second call does nothing.

        Raises:
            ModelNotFound, ModelUnavailable: the store lacks one of them, or it cannot be loaded.
        """
        if self._detector is not None:
            return
        detector = _detector(self._registry)
        choice = self._choose(self._settings.model)
        _log.info("%s serves %s: %s", choice.name, self._settings.model, choice.reason)
        await self._compute(lambda: self._loaded.get(choice.manifest))
        self._detector = detector

    async def close(self) -> None:
        """Let what runs end, and drop what waits."""
        self._hearing.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._computing.shutdown, wait=True, cancel_futures=True)

    def models(self) -> tuple[ModelInfo, ...]:
        manifests = [manifest for manifest in self._registry.list() if manifest.family in SPEECH_FAMILIES]
        defaults = {self._among(manifests, model).name for model in {manifest.model for manifest in manifests}}
        loaded = self._loaded.names()
        return tuple(
            ModelInfo(
                manifest,
                "loaded" if manifest.name in loaded else "available",
                default=manifest.name in defaults,
            )
            for manifest in manifests
        )

    async def transcribe(self, request: Request) -> Served:
        served: Served | None = None
        async for item in self.stream(request):
            if isinstance(item, Served):
                served = item
        if served is None:
            raise AssertionError("a stream ends with the whole")
        return served

    async def stream(self, request: Request) -> AsyncGenerator[Segment | Served, None]:
        manifest = self._choose(request.model).manifest
        clock = _Clock()
        recognizer = await self._recognizer(manifest)
        heard = await _run(self._hearing, lambda: self._hear(request, recognizer))
        with self._admitted(heard.duration_s):
            parts = recognizer.recognize(heard.windows, request.options)
            segments: list[Segment] = []
            spoken = request.options.language or recognizer.family.languages[0]
            languages: tuple[Language, ...] = (Language(spoken, 1.0 if request.options.language else 0.0),)
            for _ in range(group_count(heard.windows)):
                part = await self._compute(lambda: next(parts))
                languages = part.languages
                clock.add(part)
                for segment in part.segments:
                    segments.append(segment)
                    yield segment
        stage_ms = clock.stages(heard.stage_ms)
        if heard.duration_s > LONG_S:
            heard.windows = ()
            await _run(self._hearing, give_back)
        text = "".join(segment.text for segment in segments).strip()
        transcript = Transcript(text, tuple(segments), languages, heard.duration_s, request.options.task)
        yield Served(transcript, manifest, stage_ms)

    @contextmanager
    def _admitted(self, duration_s: float) -> Iterator[None]:
        """Count the audio in work; a recording alone is always let in.

        Raises:
            Overloaded: with it there would be too much.
        """
        if self._waiting_s and self._waiting_s + duration_s > self._settings.max_waiting_s:
            raise Overloaded(retry_after_s=self._waiting_s / self._speed)
        started = time.perf_counter()
        self._waiting_s += duration_s
        try:
            yield
        finally:
            self._waiting_s -= duration_s
            self._speed = max(1.0, duration_s / (time.perf_counter() - started))

    async def _recognizer(self, manifest: Manifest) -> Recognizer:
        """What is in memory is there at once; loading takes its turn."""
        found = self._loaded.find(manifest)
        return found if found is not None else await self._compute(lambda: self._loaded.get(manifest))

    def _choose(self, name: str) -> Choice:
        return self._among(self._registry.list(), name)

    def _among(self, manifests: Sequence[Manifest], name: str) -> Choice:
        return choose(name, manifests, default=self._settings.model, fast_int8=self._device.fast_int8)

    def _hear(self, request: Request, recognizer: Recognizer) -> _Heard:
        """Decode, find the speech, cut it into windows."""
        if self._detector is None:
            raise AssertionError("the engine was not started")
        started = time.perf_counter()
        decoded = decode(request.audio, raw=request.raw, limits=Limits(self._settings.max_duration_s))
        decoded_at = time.perf_counter()
        spans = self._detector.spans(decoded.samples, request.vad)
        family = recognizer.family
        cut = windows(
            decoded.samples,
            spans,
            target_s=family.target_window_s,
            max_s=family.max_window_s,
            max_gap_s=math.inf if family.position_s else MAX_GAP_S,
        )
        done_at = time.perf_counter()
        stages = {"decode": 1e3 * (decoded_at - started), "vad": 1e3 * (done_at - decoded_at)}
        return _Heard(cut, decoded.duration_s, stages)

    async def _compute(self, work: Callable[[], T]) -> T:
        return await _run(self._computing, work)


async def _run(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """Work in a pool; what has not begun when the caller is cancelled never does."""
    return await asyncio.get_running_loop().run_in_executor(pool, work)


class _Clock:
    """The stages of a request, in order; what was none of them was waiting."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._encode_ms = self._decode_ms = 0.0

    def add(self, part: Part) -> None:
        self._encode_ms += part.encode_ms
        self._decode_ms += part.decode_ms

    def stages(self, heard_ms: dict[str, float]) -> dict[str, float]:
        spent = 1e3 * (time.perf_counter() - self._started)
        known = sum(heard_ms.values()) + self._encode_ms + self._decode_ms
        waited = {"queue": max(0.0, spent - known)}
        return heard_ms | waited | {"encode": self._encode_ms, "decode_text": self._decode_ms}


def _detector(registry: Registry) -> SpeechDetector:
    model, variant, file = DETECTOR
    try:
        return SpeechDetector(registry.path(registry.get(model, variant)) / file)
    except NotInStore as error:
        raise ModelUnavailable(model, f"it is not in the store; run: wren models pull {model}") from error
    except Exception as error:
        # A damaged manifest, or a damaged file: onnxruntime's errors have no common class below Exception.
        raise ModelUnavailable(model, (str(error) or repr(error)).splitlines()[0].rstrip(".")) from error
