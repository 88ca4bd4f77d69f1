"""Real engines that stand ready for live streams, what is said to them, and somebody who takes what they tell."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.audio.types import Samples
from service.engine.engine import LocalEngine
from service.engine.streaming import Stream, StreamEvent, StreamRequest
from service.settings import Settings
from tests.audio.speech import recording
from tests.engine.recordings import TINY, silence
from tests.engine.sessions import RAW, finals, pcm
from tests.engine.watching import Watcher
from tests.store import STORE

FP32, INT8 = f"{TINY}:fp32", f"{TINY}:int8"
PLAIN = StreamRequest(raw=RAW, interims=False)
LIMIT_S = 15.0
PAUSE_S = 0.8
SENTENCES = ("en/quick_brown_fox", "en/hello_world", "en/counting")


@asynccontextmanager
async def serving(
    store: Path = STORE,
    *,
    most: int | None = 8,
    ladder: Sequence[str] = ("int8",),
    watcher: Watcher | None = None,
    kind: type[LocalEngine] = LocalEngine,
) -> AsyncIterator[LocalEngine]:
    settings = Settings(
        store=store, model=TINY, ladder=tuple(ladder), threads=1, executors=1, profile_s=0, max_streams=most
    )
    engine = kind(settings, observer=watcher)
    await engine.start()
    try:
        async with asyncio.timeout(2 * LIMIT_S):
            yield engine
    finally:
        await engine.close()


def spoken(name: str) -> Samples:
    """A sentence, and a pause that ends the turn."""
    return np.concatenate([recording(name), silence(PAUSE_S)])


def conversation() -> bytes:
    return b"".join(pcm(spoken(name)) for name in SENTENCES)


@dataclass
class Listener:
    """Takes what a stream tells, as it comes."""

    stream: Stream
    told: list[StreamEvent] = field(default_factory=list)
    task: "asyncio.Task[None]" = field(init=False)

    def __post_init__(self) -> None:
        self.task = asyncio.create_task(self._take())

    async def _take(self) -> None:
        async for event in self.stream.events():
            self.told.append(event)

    async def until_finals(self, count: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while len(finals(self.told)) < count:
                assert not self.task.done(), "the stream ended before"
                await asyncio.sleep(0.005)


async def said(
    engine: LocalEngine, audio: bytes, asked: StreamRequest = PLAIN, *, by: int = 32_000
) -> list[StreamEvent]:
    """All that is told of a stream."""
    async with engine.listen(asked) as stream:
        listener = Listener(stream)
        for start in range(0, len(audio), by):
            await stream.feed(audio[start : start + by])
        await stream.finish()
        await listener.task
    return listener.told


def leases(engine: LocalEngine) -> int:
    return sum(info.leases for info in engine.models())
