"""An engine that answers from given transcripts: for tests of what lies above the seam, or to try clients with."""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from itertools import cycle

from model_store.manifest import Manifest, Precision
from service.engine.budget import DEFAULT_WER_LOSS, Asked, what_if
from service.engine.device import Limit
from service.engine.plan import Budget, Candidate, Plan, plan
from service.engine.types import Load, ModelInfo, Request, Served
from service.errors import ModelNotFound, WrenError
from service.recognition.types import Segment, Transcript

UNLIMITED = Budget(
    memory=Limit(math.inf, "no limit"),
    cores=Limit(1, "one"),
    gpu_memory=Limit(0, "none"),
    latency=Limit(math.inf, "no limit"),
    wer_loss=Limit(DEFAULT_WER_LOSS, "the default"),
)


class FakeEngine:
    """Answers with the transcripts in turn, over and over.

    Attributes:
        requests: what was asked, in order.
        dropped: how many requests were cancelled before their answer.
        running: whether it was started and not closed.
        busy: what it says of its load.
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
    ) -> None:
        """Make one.

        Args:
            transcripts: at least one, unless `error` is given.
            infos: the models it claims to have.
            error: raised in place of an answer,
            fail_after: in a stream after this many segments.
            gate: awaited before each answer, and in a stream before each segment.
            busy: its load; without one it is idle, and has loaded what `infos` say.
            candidates: what it plans with.
        """
        self._transcripts = cycle(transcripts)
        self._infos = tuple(infos) if infos is not None else (model_info("fake", "fp32", default=True),)
        self._error, self._fail_after, self._gate = error, fail_after, gate
        self._candidates = tuple(candidates)
        loaded = tuple(info.manifest.name for info in self._infos if info.state == "loaded")
        self.busy = busy or Load(limit_s=3600, speed=10, executors=1, loaded=loaded)
        self.requests: list[Request] = []
        self.dropped = 0
        self.running = False

    async def transcribe(self, request: Request) -> Served:
        self.requests.append(request)
        await self._pass()
        if self._error is not None:
            raise self._error
        return self._served(request, next(self._transcripts))

    async def stream(self, request: Request) -> AsyncGenerator[Segment | Served, None]:
        self.requests.append(request)
        transcript = next(self._transcripts, None)
        for number, segment in enumerate(transcript.segments if transcript else ()):
            await self._pass()
            if self._error is not None and number == self._fail_after:
                raise self._error
            yield segment
        if self._error is not None or transcript is None:
            raise self._error or RuntimeError("the fake engine has no transcript")
        yield self._served(request, transcript)

    def models(self) -> tuple[ModelInfo, ...]:
        return self._infos

    def load(self) -> Load:
        return self.busy

    async def plan(self, model: str, asked: Asked) -> Plan:
        if model not in ("auto", *(info.manifest.model for info in self._infos)):
            raise ModelNotFound(model, tuple(info.manifest.model for info in self._infos))
        of_model = [one for one in self._candidates if model in ("auto", one.model)]
        return plan(of_model, what_if(UNLIMITED, asked))

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

    def _served(self, request: Request, transcript: Transcript) -> Served:
        named = (info for info in self._infos if request.model in (info.manifest.name, info.manifest.model))
        return Served(transcript, next(named, self._infos[0]).manifest, {"decode": 1.0, "queue": 0.5, "encode": 2.0})


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
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return ModelInfo(manifest, "loaded" if default else "available", default=default)
