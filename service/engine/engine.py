"""The engine on this machine: recordings in, transcripts out.

A recording leases the variant that serves when it comes. It is heard (decoded, searched for speech, cut) in a pool of
threads; its windows then take their turns in the scheduler with those of all others, a bounded number ahead of what was
answered.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager, nullcontext
from dataclasses import replace

from model_store.errors import NotInStore
from model_store.manifest import Manifest
from model_store.registry import Registry
from service.audio.vad import SpeechDetector
from service.engine.admission import budget_s, queue_limit_s
from service.engine.backlog import Backlog
from service.engine.budget import Asked
from service.engine.cascading import Cascading
from service.engine.choice import AUTO, Choice
from service.engine.deadline import in_time
from service.engine.delays import Delays
from service.engine.device import read_device
from service.engine.governor import Governor
from service.engine.gpu import read_gpus, unmet, used_gpu_bytes
from service.engine.hearing import Hearing
from service.engine.journal import Journal
from service.engine.lease import Lease
from service.engine.loading import Loader
from service.engine.observing import Unobserved
from service.engine.passage import Passage, Rooms
from service.engine.plan import Plan
from service.engine.precision import Fill, Orders, Signals
from service.engine.profile import Hosted, speed_of
from service.engine.resident import read_resident
from service.engine.room import GpuMemory, footprint, gpu_footprint
from service.engine.scheduler import Scheduler
from service.engine.stays import Stay, Stays
from service.engine.stock import Stock
from service.engine.streaming import Stream, StreamRequest
from service.engine.streams import Streams
from service.engine.types import Load, ModelInfo, Observer, PrecisionReport, Request, Served
from service.engine.variants import Variants
from service.errors import DeadlineExceeded, ModelNotFound, ModelUnavailable, NoRoom, NothingFits, Overloaded
from service.recognition.types import Segment
from service.settings import Settings

_log = logging.getLogger(__name__)

LOOK_S = 0.25
"""How often it is seen whether another variant should serve, and which may go."""

TARGET_S = 1.0
"""The answer to a short recording is wanted within so long, where `WREN_LATENCY` does not say."""

DETECTOR = ("silero-vad", "fp32", "vad.onnx")
"""Model, variant and file of the speech detector."""


class LocalEngine:
    """See `service.engine.types.Engine`."""

    def __init__(self, settings: Settings, *, observer: Observer | None = None, smoke_tests: bool = True) -> None:
        """Make one; without smoke tests it serves variants that hear nonsense, too."""
        self._settings = settings
        self._device = read_device(gpus=read_gpus(settings.device))
        self._observer = observer or Unobserved()
        self._registry = Registry(settings.store)
        self._stock = Stock(self._registry, self._device, settings)
        planner = self._stock.planner
        self._budget_bytes = planner.memory_bytes
        self._loader = Loader(
            self._registry,
            self._device,
            threads=settings.threads or self._device.cores,
            executors=settings.executors,
            memory_bytes=self._budget_bytes,
            gpu_bytes=planner.gpu_bytes,
            smoke_tests=smoke_tests,
        )
        self._journal = Journal(self._observer)
        self._variants = Variants(
            self._loader,
            self._journal,
            limit=planner.budget.memory,
            footprint=self._footprint,
            gpu=GpuMemory(planner.budget.gpu_memory, self._gpu_footprint),
            idle_s=settings.idle_s,
            forget=self._forget,
        )
        self._stays = Stays(self._variants)
        self._governor = Governor(
            self._variants,
            self._journal,
            choices=self._stock.choices,
            signals=self._signals,
            switched=self._switched,
            listed=settings.ladder,
        )
        self._target_s = TARGET_S if settings.latency is None else settings.latency / 1e3
        self._cascading = Cascading(
            settings.cascade, self._stock, self._variants, self._governor, target_s=self._target_s
        )
        self._streams = Streams(
            self._governor,
            self._variants,
            self._observer,
            transcribe=self.transcribe,
            lease=self._leased,
            most=settings.max_streams,
        )
        self._running: Rooms | None = None
        self._watching: asyncio.Task[None] | None = None
        self._exhausted = 0
        self._base_bytes = 0

    async def start(self) -> None:
        """Load the speech detector and the default variant, and warm both up; a second call does nothing.

        Raises:
            ModelNotFound, ModelUnavailable: the store lacks one of them, or it cannot be loaded.
            NothingFits: no variant of the model keeps to the limits that were set.
        """
        if self._running is not None:
            return
        if why := unmet(self._device.gpus):
            _log.warning("%s", why)
        detector = _detector(self._registry)
        await asyncio.to_thread(self._stock.survey)
        self._stock.choices(now=True)
        self._base_bytes = read_resident().now_bytes
        choice, hosted = await self._governor.start()
        _log.info("%s serves %s: %s", choice.name, self._settings.model, choice.reason)
        executors = self._loader.layout.executors
        planned_bytes = choice.planned.memory_bytes if choice.planned else None
        limit_s, reason = queue_limit_s(self._budget_bytes, self._settings.max_waiting_s, variant_bytes=planned_bytes)
        _log.info("up to %.0f s of audio may wait: %s", limit_s, reason)
        hearing = Hearing(detector, threads=self._device.cores, max_duration_s=self._settings.max_duration_s)
        scheduler = Scheduler(
            hearing.submit, self._observer, renew=self._variants.renew, stuck_s=self._settings.stuck_s
        )
        scheduler.start(executors)
        backlog = Backlog(limit_s, speed=hosted.profile.speed * executors)
        self._running = Rooms(hearing, scheduler, backlog, Delays())
        self._streams.start(detector, hearing, scheduler, speed_of(hosted.profile, executors))
        _log.info("up to %d live streams at once: %s", self._streams.limit, self._streams.reason)
        await self._cascading.start()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Drop what runs and what waits."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._streams.close()
        await self._cascading.close()
        await self._governor.close()
        await self._variants.close()
        if self._running is not None:
            await self._running.scheduler.close()
            await self._running.hearing.close()

    def models(self) -> tuple[ModelInfo, ...]:
        choices = self._stock.choices()
        models = dict.fromkeys(manifest.model for manifest in choices.manifests)
        defaults = {choice.name: choice for model in models if (choice := self._chosen(model))}
        first = self._chosen(AUTO)
        return tuple(
            replace(
                self._variants.info(manifest, unable=choices.unable(manifest.name)),
                default=manifest.name in defaults,
                first=first is not None and first.name == manifest.name,
                reason=defaults[manifest.name].reason if manifest.name in defaults else "",
            )
            for manifest in choices.manifests
        )

    async def plan(self, model: str, asked: Asked) -> Plan:
        return await asyncio.to_thread(self._stock.planner.plan, self._stock.of_model(model), asked)

    def precision(self) -> PrecisionReport:
        return PrecisionReport(
            self._governor.report(),
            self._governor.seen,
            read_resident().now_bytes,
            self._budget_bytes or None,
            self._journal.events,
        )

    async def order(self, model: str, orders: Orders) -> PrecisionReport:
        await self._governor.order(model, orders)
        return self.precision()

    async def load_model(self, name: str, *, keep_alive_s: float | None = None) -> ModelInfo:
        choice = self._governor.choose(name)
        await self._variants.load(choice.manifest, reason="ordered", keep_alive_s=keep_alive_s)
        return next(info for info in self.models() if info.manifest.name == choice.name)

    async def unload_model(self, name: str) -> tuple[ModelInfo, ...]:
        named = self._stock.choices().manifest(name)
        model = self._governor.meant(AUTO).manifest.model if name == AUTO else name
        variants = [named] if named else self._stock.of_model(model)
        there = [one for one in variants if self._variants.info(one).state in ("loaded", "loading", "draining")]
        await asyncio.gather(*(self._variants.unload(one.name, reason="ordered") for one in there))
        return tuple(map(self._variants.info, there))

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
            loaded=self._variants.names(),
            streams=len(self._streams),
            streams_limit=self._streams.limit,
            stream_lag_s=self._streams.lag_s,
            failing=self._failing(),
        )

    async def transcribe(self, request: Request) -> Served:
        served: Served | None = None
        async for item in self._items(request, movable=True):
            if isinstance(item, Served):
                served = item
        if served is None:
            raise AssertionError("a stream ends with the whole")
        return served

    async def stream(self, request: Request) -> AsyncGenerator[Segment | Served, None]:
        async with aclosing(self._items(request, movable=False)) as items:  # it is told what serves before it begins
            async for item in items:
                yield item

    def listen(self, request: StreamRequest) -> AbstractAsyncContextManager[Stream]:
        return self._streams.listen(request)

    async def _items(self, request: Request, *, movable: bool) -> AsyncGenerator[Segment | Served, None]:
        rooms, arrived_s = self._running, time.monotonic()
        if rooms is None:
            raise AssertionError("the engine was not started")
        allowed_s, asked = request.deadline_s, request.deadline_s is not None
        allowed_s = budget_s(0.0) if allowed_s is None else allowed_s
        with self._observed(request):
            choice, lease = await in_time(self._leased(request), left_s=allowed_s, budget_s=allowed_s, asked=asked)
        with lease as hosted, self._cascading.cascade(request, hosted) as cascade:
            if request.on_chosen is not None:
                request.on_chosen(hosted.manifest, choice.reason)
            hosted.recognizer.check(request.options)
            entry = rooms.backlog.entered(request.size_bytes, client=request.client, priority=request.priority)
            with self._observed(request), entry as share:
                stay = Stay(request, choice, lease, Passage(rooms, request, hosted, share, arrived_s, cascade))
                with self._stays.kept(stay) if movable else nullcontext():
                    async with aclosing(stay.items()) as items:
                        async for item in items:
                            yield item

    async def _leased(self, request: Request) -> tuple[Choice, Lease]:
        """The variant for a request; where that cannot be had and nobody insists on it, what serves in its place.

        Raises:
            ModelNotFound, ModelUnavailable, NothingFits: there is none to be had.
        """
        language, stays_s = request.options.language, request.keep_alive_s
        choice = self._governor.choose(request.model, language=language, wish=request.precision)
        try:
            return choice, await self._variants.lease(choice.manifest, keep_alive_s=stays_s)
        except (ModelUnavailable, NoRoom) as error:
            instead = await self._governor.instead(request.model, choice, error, language=language)
            if instead is None:
                raise
        return instead, await self._variants.lease(instead.manifest, keep_alive_s=stays_s)

    @contextmanager
    def _observed(self, request: Request) -> Iterator[None]:
        """Count how requests end that do not end well; the guesses of live streams come and go."""
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            if request.priority != "live":
                self._observer.cancelled()
            raise
        except Overloaded as error:
            self._observer.rejected(error.cause)
            raise
        except DeadlineExceeded:
            self._observer.expired()
            raise

    async def _watch(self) -> None:
        """Look after the variants for as long as the engine runs."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await asyncio.to_thread(self._stock.refresh)
                self._variants.tend()
                self._governor.look()
            except Exception:  # a fault in one look must not be the last of them
                _log.exception("the variants could not be looked after")

    def _signals(self) -> Signals:
        """What the policy sees now; what happened since the last look is told once."""
        now_s, rooms, limit = time.monotonic(), self._running, self._budget_bytes
        if rooms is None:
            return Signals(now_s)
        ram = Fill("memory", read_resident().now_bytes, limit or 0)
        gpu = Fill("GPU memory", used_gpu_bytes(), self._stock.planner.gpu_bytes)
        before, self._exhausted = self._exhausted, rooms.scheduler.exhausted
        return Signals(
            now_s=now_s,
            delay_s=rooms.delays.worst_s(now_s),
            target_s=self._target_s,
            refused=rooms.delays.refused(),
            offered=rooms.delays.offered(now_s),
            speed=rooms.backlog.speed,
            memory=tuple(fill for fill in (ram, gpu) if fill.limit_bytes),
            exhausted=self._exhausted - before,
        )

    def _switched(self, previous: Manifest, choice: Choice) -> None:
        """Take along who waits, and expect as much more of the queue as the profiles say."""
        self._stays.move(previous, choice)
        before, after = self._stock.costs(previous.name), self._stock.costs(choice.name)
        default = choice.governed == self._stock.choices().default
        if default and self._running is not None and before is not None and after is not None:
            self._running.backlog.scale(after.speed / before.speed)
            self._streams.carried_at(after.speed)

    def _footprint(self, manifest: Manifest) -> int:
        return footprint(manifest.total_bytes, self._stock.costs(manifest.name), self._base_bytes)

    def _gpu_footprint(self, manifest: Manifest) -> int:
        on_gpu = self._device.gpus.compute(manifest.runtime)
        return gpu_footprint(manifest.total_bytes, self._stock.costs(manifest.name), on_gpu=on_gpu)

    async def _forget(self, hosted: Hosted) -> None:
        if self._running is not None:
            await self._running.scheduler.forget(hosted)

    def _failing(self) -> str | None:
        first = self._chosen(AUTO)
        if first is None or self._variants.info(first.manifest).state != "failed":
            return None
        return self._variants.failures.broken(first.manifest)

    def _chosen(self, model: str) -> Choice | None:
        """What a model's name means; nothing if none of it can be served."""
        try:
            return self._governor.meant(model)
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
