"""The engine on this machine: recordings in, transcripts out.

A recording is heard (decoded, searched for speech, cut) in a pool of threads; its windows then take their turns in the
scheduler with those of all others, a bounded number ahead of what was answered.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import TypeVar

from model_store.errors import NotInStore
from model_store.manifest import Manifest
from model_store.registry import Registry
from service.audio.vad import SpeechDetector
from service.engine.admission import queue_limit_s
from service.engine.backlog import Backlog
from service.engine.budget import Asked
from service.engine.choice import AUTO, SPEECH_FAMILIES, Choice, Choices
from service.engine.deadline import in_time
from service.engine.device import read_device
from service.engine.hearing import Hearing
from service.engine.loaded import Loaded
from service.engine.loading import Loader
from service.engine.observing import Unobserved
from service.engine.passage import Passage, Rooms
from service.engine.plan import Plan
from service.engine.planner import Planner
from service.engine.profile import Hosted
from service.engine.scheduler import Scheduler
from service.engine.types import Load, ModelInfo, Observer, Request, Served
from service.errors import DeadlineExceeded, ModelNotFound, ModelUnavailable, NothingFits, Overloaded
from service.recognition.types import Segment
from service.settings import Settings

_log = logging.getLogger(__name__)

T = TypeVar("T")

READ_S = 1.0
"""How old what is known of the store may be."""

DETECTOR = ("silero-vad", "fp32", "vad.onnx")
"""Model, variant and file of the speech detector."""


class LocalEngine:
    """See `service.engine.types.Engine`."""

    def __init__(self, settings: Settings, *, observer: Observer | None = None) -> None:
        self._settings = settings
        self._device = read_device()
        self._observer = observer or Unobserved()
        self._registry = Registry(settings.store)
        self._planner = Planner(self._registry, self._device, settings)
        self._loader = Loader(
            self._registry,
            self._device,
            threads=settings.threads or self._device.cores,
            executors=settings.executors,
            memory_bytes=self._planner.memory_bytes,
        )
        self._loaded = Loaded(self._loader)
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="wren-load")
        self._running: Rooms | None = None
        self._known: Choices | None = None
        self._stamp = 0
        self._read_s = -math.inf

    async def start(self) -> None:
        """Load the speech detector and the default variant, and warm both up; a second call does nothing.

        Raises:
            ModelNotFound, ModelUnavailable: the store lacks one of them, or it cannot be loaded.
            NothingFits: no variant of the model keeps to the limits that were set.
        """
        if self._running is not None:
            return
        self._read_s = -math.inf
        detector = _detector(self._registry)
        await self._load(self._survey)
        choice = self._choose(self._settings.model)
        _log.info("%s serves %s: %s", choice.name, self._settings.model, choice.reason)
        hosted = await self._load(lambda: self._loaded.settle(choice.manifest, choice.planned))
        executors = self._loader.layout.executors
        planned_bytes = choice.planned.memory_bytes if choice.planned else None
        limit_s, reason = queue_limit_s(
            self._planner.memory_bytes, self._settings.max_waiting_s, variant_bytes=planned_bytes
        )
        _log.info("up to %.0f s of audio may wait: %s", limit_s, reason)
        hearing = Hearing(detector, threads=self._device.cores, max_duration_s=self._settings.max_duration_s)
        scheduler = Scheduler(hearing.submit, self._observer, renew=self._renew, stuck_s=self._settings.stuck_s)
        scheduler.start(executors)
        backlog = Backlog(limit_s, speed=hosted.profile.speed * executors)
        self._running = Rooms(hearing, scheduler, backlog)

    async def close(self) -> None:
        """Drop what runs and what waits."""
        self._loading.shutdown(wait=False, cancel_futures=True)
        if self._running is not None:
            await self._running.scheduler.close()
            await self._running.hearing.close()

    def models(self) -> tuple[ModelInfo, ...]:
        choices = self._choices()
        models = dict.fromkeys(manifest.model for manifest in choices.manifests)
        defaults = {choice.name: choice for model in models if (choice := _chosen(choices, model))}
        first, loaded = _chosen(choices, AUTO), self._loaded.names()
        return tuple(
            ModelInfo(
                manifest,
                "loaded" if manifest.name in loaded else "available",
                default=manifest.name in defaults,
                first=first is not None and first.name == manifest.name,
                reason=defaults[manifest.name].reason if manifest.name in defaults else "",
            )
            for manifest in choices.manifests
        )

    async def plan(self, model: str, asked: Asked) -> Plan:
        manifests = self._choices().manifests
        of_model = [manifest for manifest in manifests if model in (AUTO, manifest.model)]
        if not of_model:
            raise ModelNotFound(model, tuple(dict.fromkeys(manifest.model for manifest in manifests)))
        return await asyncio.to_thread(self._planner.plan, of_model, asked)

    def load(self) -> Load:
        if self._running is None:
            return Load()
        scheduler, backlog = self._running.scheduler, self._running.backlog
        return Load(
            waiting_s=backlog.waiting_s,
            limit_s=backlog.bearable_s,
            windows=scheduler.waiting,
            rows=scheduler.rows,
            speed=backlog.speed,
            executors=scheduler.executors,
            stalled_s=scheduler.stalled_s(),
            loaded=self._loaded.names(),
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
        rooms, arrived_s = self._running, time.monotonic()
        if rooms is None:
            raise AssertionError("the engine was not started")
        choice = self._choose(request.model, language=request.options.language)
        manifest = choice.manifest
        hosted = self._loaded.find(manifest) or await self._load_in_time(manifest, request.deadline_s)
        hosted.recognizer.check(request.options)
        entry = rooms.backlog.entered(request.size_bytes, client=request.client, priority=request.priority)
        with self._observed(), entry as share:
            passage = Passage(rooms, request, hosted, share, arrived_s)
            try:
                async with aclosing(passage.segments()) as segments:
                    async for segment in segments:
                        yield segment
                yield replace(await passage.served(), reason=choice.reason)
            finally:
                passage.leave()

    @contextmanager
    def _observed(self) -> Iterator[None]:
        """Count how requests end that do not end well."""
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self._observer.cancelled()
            raise
        except Overloaded as error:
            self._observer.rejected(error.cause)
            raise
        except DeadlineExceeded:
            self._observer.expired()
            raise

    def _choose(self, name: str, *, language: str | None = None) -> Choice:
        return self._choices().choose(name, language=language)

    def _choices(self) -> Choices:
        """As of a second ago at most: the store read for each request took a tenth of a core."""
        now = time.monotonic()
        if self._known is None or now >= self._read_s + READ_S:
            manifests, stamp = self._speakers(), self._planner.stamp()
            if self._known is None or (manifests, stamp) != (self._known.manifests, self._stamp):
                self._known, self._stamp = self._planner.choices(manifests), stamp
            self._read_s = now
        return self._known

    def _speakers(self) -> tuple[Manifest, ...]:
        return tuple(manifest for manifest in self._registry.list() if manifest.family in SPEECH_FAMILIES)

    def _survey(self) -> None:
        """Measure what was never measured here: of the default model first, and of it what would serve without."""
        if not self._settings.profile_s:
            return
        model = self._settings.model.partition(":")[0]
        likely = "int8" if self._device.fast_int8 else "fp32"

        def rank(one: Manifest) -> tuple[bool, bool, bool]:
            return one.model != model, one.precision != likely, one.parent is not None and not one.evaluations

        self._planner.surveyor().survey(sorted(self._speakers(), key=rank), within_s=self._settings.profile_s)

    async def _load_in_time(self, manifest: Manifest, deadline_s: float | None) -> Hosted:
        allowed_s = math.inf if deadline_s is None else deadline_s
        loading = self._load(lambda: self._loaded.get(manifest))
        with self._observed():
            return await in_time(loading, left_s=allowed_s, budget_s=allowed_s, asked=True)

    async def _renew(self, lost: Hosted) -> Hosted:
        return await self._load(lambda: self._loaded.renew(lost))

    async def _load(self, work: Callable[[], T]) -> T:
        """Loading takes its turn in a thread of its own; what has not begun when the caller is cancelled never does."""
        return await asyncio.get_running_loop().run_in_executor(self._loading, work)


def _chosen(choices: Choices, model: str) -> Choice | None:
    """What a model's name means; nothing if none of it can be served."""
    try:
        return choices.choose(model)
    except (ModelNotFound, ModelUnavailable, NothingFits):
        return None


def _detector(registry: Registry) -> SpeechDetector:
    model, variant, file = DETECTOR
    try:
        return SpeechDetector(registry.checked(registry.get(model, variant)) / file)
    except NotInStore as error:
        raise ModelUnavailable(model, f"it is not in the store; run: wren models pull {model}") from error
    except Exception as error:
        # A damaged manifest, or a damaged file: onnxruntime's errors have no common class below Exception.
        raise ModelUnavailable(model, (str(error) or repr(error)).splitlines()[0].rstrip(".")) from error
