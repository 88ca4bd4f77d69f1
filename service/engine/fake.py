"""An engine that answers from given transcripts: for tests of what lies above the seam, or to try clients with."""

import asyncio
import math
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle

from model_store.manifest import Manifest, Precision
from service.engine.budget import DEFAULT_WER_LOSS, Asked, what_if
from service.engine.choice import AUTO, BY_NAME
from service.engine.device import Limit
from service.engine.fake_stream import SILENT, FakeStream, Script
from service.engine.ladder import Ladder, Rung
from service.engine.plan import Budget, Candidate, Plan, plan
from service.engine.precision import Cause, Orders, Signals
from service.engine.streaming import Stream, StreamRequest
from service.engine.types import (
    Event,
    Governed,
    Happening,
    Load,
    ModelInfo,
    PrecisionReport,
    Request,
    Served,
    WindowDone,
)
from service.errors import ModelNotFound, ModelUnavailable, OptionError, WrenError
from service.recognition.types import Segment, Transcript

UNLIMITED = Budget(
    memory=Limit(math.inf, "no limit"),
    cores=Limit(1, "one"),
    gpu_memory=Limit(0, "none"),
    latency=Limit(math.inf, "no limit"),
    wer_loss=Limit(DEFAULT_WER_LOSS, "the default"),
)

BORN = datetime(2026, 1, 1, tzinfo=UTC)
LOADED_BYTES = 100_000_000
LOAD_MS = 250.0


class FakeEngine:
    """Answers with the transcripts in turn, over and over.

    Attributes:
        requests: what was asked, in order.
        dropped: how many requests were cancelled before their answer.
        running: whether it was started and not closed.
        busy: what it says of its load.
        kept_s: how long what was loaded is to stay, where somebody said.
        streams: the live ones that it let in, those that are over too.
    """

    def __init__(
        self,
        *transcripts: Transcript,
        infos: Sequence[ModelInfo] | None = None,
        error: WrenError | None = None,
        fail_after: int = 0,
        gate: asyncio.Event | None = None,
        busy: Load | None = None,
        candidates: Sequence[Candidate] = (),
        broken: Collection[str] = (),
        script: Script = SILENT,
    ) -> None:
        """Make one.

        Args:
            transcripts: at least one, unless `error` is given.
            infos: the models it claims to have; if none of them is the first, the first default one is.
            error: raised in place of an answer,
            fail_after: in a stream after this many segments.
            gate: awaited before each answer, and in a stream before each segment.
            busy: its load; without one it is idle, and has loaded what `infos` say.
            candidates: what it plans with.
            broken: names of variants that cannot be loaded.
            script: what happens on each live stream; `error` refuses them, and `gate` is awaited by each `feed`.
        """
        self._transcripts = cycle(transcripts)
        self._infos = _with_a_first(infos if infos is not None else (model_info("fake", "fp32", default=True),))
        self._error, self._fail_after, self._gate = error, fail_after, gate
        self._script = script
        self._candidates, self._broken = tuple(candidates), frozenset(broken)
        loaded = tuple(info.manifest.name for info in self._infos if info.state == "loaded")
        self.busy = busy or Load(limit_s=3600, speed=10, executors=1, loaded=loaded)
        self._orders: dict[str, Orders] = {}
        self._events: list[Event] = []
        self.requests: list[Request] = []
        self.kept_s: dict[str, float] = {}
        self.streams: list[FakeStream] = []
        self.dropped = 0
        self.running = False

    async def transcribe(self, request: Request) -> Served:
        self.requests.append(request)
        info, reason = self._choose(request)
        if request.on_window is not None:
            return await self._window_by_window(request, info, reason)
        await self._pass()
        if self._error is not None:
            raise self._error
        return _served(next(self._transcripts), info, reason)

    async def _window_by_window(self, request: Request, info: ModelInfo, reason: str) -> Served:
        """Each segment is a window, and the gate is awaited before each."""
        served = _served(next(self._transcripts), info, reason)
        segments, languages = served.transcript.segments, served.transcript.languages
        for number in range(request.resumption.windows if request.resumption else 0, len(segments)):
            await self._pass()
            if self._error is not None and number == self._fail_after:
                raise self._error
            if request.on_window is not None:
                await request.on_window(WindowDone(number, len(segments), segments[number : number + 1], languages))
        return served

    async def stream(self, request: Request) -> AsyncGenerator[Segment | Served, None]:
        self.requests.append(request)
        info, reason = self._choose(request)
        transcript = next(self._transcripts, None)
        for number, segment in enumerate(transcript.segments if transcript else ()):
            await self._pass()
            if self._error is not None and number == self._fail_after:
                raise self._error
            yield segment
        if self._error is not None or transcript is None:
            raise self._error or RuntimeError("the fake engine has no transcript")
        yield _served(transcript, info, reason)

    @asynccontextmanager
    async def listen(self, request: StreamRequest) -> AsyncGenerator[Stream, None]:
        if self._error is not None:
            raise self._error
        stream = FakeStream(request, self._script, self._listening, self._gate)
        self.streams.append(stream)
        try:
            yield stream
        finally:
            stream.left = True

    def models(self) -> tuple[ModelInfo, ...]:
        return self._infos

    def load(self) -> Load:
        return self.busy

    async def plan(self, model: str, asked: Asked) -> Plan:
        if model not in ("auto", *(info.manifest.model for info in self._infos)):
            raise ModelNotFound(model, tuple(info.manifest.model for info in self._infos))
        of_model = [one for one in self._candidates if model in ("auto", one.model)]
        return plan(of_model, what_if(UNLIMITED, asked))

    def precision(self) -> PrecisionReport:
        defaults = sorted((info for info in self._infos if info.default), key=lambda info: not info.first)
        models = tuple(map(self._governed, defaults))
        signals = Signals(now_s=0.0, delay_s=0.125, target_s=1.0, offered=2.5, speed=10.0)
        return PrecisionReport(models, signals, 2 * LOADED_BYTES, None, tuple(reversed(self._events)))

    async def order(self, model: str, orders: Orders) -> PrecisionReport:
        """A pin serves at once; without one the first variant does."""
        variants = self._variants(model)
        for param, wanted in (("pin", orders.pin), ("highest", orders.highest), ("lowest", orders.lowest)):
            if wanted is not None and not [info for info in variants if wanted in _orders_of(info)]:
                raise OptionError(f"There is no {wanted!r} of this model.", param=param)
        pinned = [info for info in variants if orders.pin in _orders_of(info)]
        self._switch(next(iter(pinned or variants)), reason="pinned" if pinned else "released")
        self._orders[variants[0].manifest.model] = orders
        return self.precision()

    async def load_model(self, name: str, *, keep_alive_s: float | None = None) -> ModelInfo:
        info = self._load(self._serving(name), reason="it was wanted")
        if keep_alive_s is not None:
            self.kept_s[info.manifest.name] = keep_alive_s
        return info

    async def unload_model(self, name: str) -> tuple[ModelInfo, ...]:
        gone = [info for info in self._variants(name) if info.state == "loaded"]
        for info in gone:
            self._become(
                replace(info, state="available", memory_bytes=None, gpu_memory_bytes=None, load_ms=None, idle_s=None)
            )
            self._tell("unloaded", info, "it was not wanted")
        names = [info.manifest.name for info in gone]
        return tuple(info for info in self._infos if info.manifest.name in names)

    async def start(self) -> None:
        self.running = True

    async def close(self) -> None:
        self.running = False

    async def _pass(self) -> None:
        if self._gate is None:
            return
        try:
            await self._gate.wait()
        except asyncio.CancelledError:
            self.dropped += 1
            raise

    def _choose(self, request: Request) -> tuple[ModelInfo, str]:
        """A wish is granted where there is a variant of that precision."""
        wished = [info for info in self._variants(request.model) if info.manifest.precision == request.precision]
        info = wished[0] if wished else self._serving(request.model)
        reason = BY_NAME if request.model == info.manifest.name else "wished for" if wished else info.reason
        if request.on_chosen is not None:
            request.on_chosen(info.manifest, reason)
        return info, reason

    def _variants(self, name: str) -> list[ModelInfo]:
        meant = [info.manifest.model for info in self._infos if info.first] if name == AUTO else [name]
        variants = [info for info in self._infos if info.manifest.name in meant or info.manifest.model in meant]
        if not variants:
            raise ModelNotFound(name, tuple(info.manifest.name for info in self._infos))
        return variants

    def _serving(self, name: str) -> ModelInfo:
        variants = self._variants(name)
        return next((info for info in variants if info.default), variants[0])

    def _listening(self, name: str) -> Manifest:
        return self._load(self._serving(name), reason="a stream is heard with it").manifest

    def _governed(self, serving: ModelInfo) -> Governed:
        model = serving.manifest.model
        rungs = tuple(Rung(info.manifest.name, reason="listed") for info in self._variants(model))
        orders = self._orders.get(model, Orders())
        cause: Cause = "order" if orders.pin else "start"
        return Governed(model, serving.manifest.name, cause, serving.reason, BORN, Ladder(rungs), orders)

    def _switch(self, info: ModelInfo, *, reason: str) -> None:
        old = self._serving(info.manifest.model)
        info = self._load(info, reason="it is to serve")
        if old.manifest.name == info.manifest.name:
            return
        self._become(replace(old, default=False, first=False, reason=""))
        self._become(replace(info, default=True, first=old.first, reason=reason))
        self._tell("switched", info, reason, previous=old.manifest.name)

    def _load(self, info: ModelInfo, *, reason: str) -> ModelInfo:
        if info.manifest.name in self._broken:
            error = ModelUnavailable(info.manifest.name, "it is broken")
            self._become(replace(info, state="failed", failure=str(error)))
            self._tell("failed", info, str(error))
            raise error
        if info.state != "loaded":
            info = replace(
                info, state="loaded", memory_bytes=LOADED_BYTES, gpu_memory_bytes=0, load_ms=LOAD_MS, idle_s=0.0
            )
            self._become(info)
            self._tell("loaded", info, reason)
        return info

    def _become(self, info: ModelInfo) -> None:
        self._infos = tuple(info if one.manifest.name == info.manifest.name else one for one in self._infos)

    def _tell(self, kind: Happening, info: ModelInfo, reason: str, *, previous: str | None = None) -> None:
        cause: Cause | None = "order" if kind == "switched" else None
        event = Event(BORN, kind, info.manifest.name, reason, LOAD_MS / 1e3, previous=previous, cause=cause)
        self._events.append(event)


def model_info(model: str, precision: Precision, *, default: bool = False) -> ModelInfo:
    """A variant that is named after its precision and has no files; the default one is loaded."""
    manifest = Manifest(
        model=model,
        variant=precision,
        family="whisper",
        precision=precision,
        runtime="onnxruntime",
        languages=("en",),
        license="MIT",
        source="none",
        recipe="none",
        files=(),
        created=BORN,
    )
    return ModelInfo(manifest, "loaded" if default else "available", default=default)


def _with_a_first(infos: Sequence[ModelInfo]) -> tuple[ModelInfo, ...]:
    defaults = [info for info in infos if info.default]
    if not defaults or any(info.first for info in infos):
        return tuple(infos)
    return tuple(replace(info, first=info is defaults[0]) for info in infos)


def _orders_of(info: ModelInfo) -> tuple[str, ...]:
    """The names that an order can have for it."""
    return info.manifest.name, info.manifest.variant, info.manifest.precision


def _served(transcript: Transcript, info: ModelInfo, reason: str) -> Served:
    return Served(transcript, info.manifest, {"decode": 1.0, "queue": 0.5, "encode": 2.0}, reason)
