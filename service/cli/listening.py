"""Chunks of audio in, what is said in them to the screen while they come: the work of `wren listen`."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Protocol

from service.cli.screen import Screen
from service.cli.spoken import Spoken, spoken
from service.engine.streaming import Stream, StreamRequest
from service.engine.types import Engine


class Line(Protocol):
    """To whoever listens: the engine in this process, or a server."""

    async def feed(self, audio: bytes) -> None: ...

    async def finish(self) -> None:
        """Say that no more comes; `told` ends when all is told."""
        ...

    def told(self) -> AsyncIterator[Spoken]: ...


class EngineLine:
    """A stream of an engine."""

    def __init__(self, stream: Stream) -> None:
        self.feed, self.finish = stream.feed, stream.finish
        self._stream = stream

    async def told(self) -> AsyncIterator[Spoken]:
        async for event in self._stream.events():
            yield spoken(event)


@asynccontextmanager
async def engine_line(engine: Engine, request: StreamRequest) -> AsyncIterator[EngineLine]:
    """Start the engine for this one stream."""
    await engine.start()
    try:
        async with engine.listen(request) as stream:
            yield EngineLine(stream)
    finally:
        await engine.close()


async def listen(opening: AbstractAsyncContextManager[Line], audio: AsyncIterator[bytes], screen: Screen) -> None:
    """Show what is said, to the end. An interrupt is the end of the audio; the next one stops at once.

    Raises:
        asyncio.CancelledError: it was interrupted twice.
        Exception: what went wrong with the audio, or on the line.
    """
    async with opening as line:
        feeding = asyncio.create_task(_feed(line, audio))
        with _interruptible(feeding), screen:
            try:
                async for event in line.told():
                    screen.show(event)
            finally:
                feeding.cancel()
                (failure,) = await asyncio.gather(feeding, return_exceptions=True)
        if isinstance(failure, Exception):
            raise failure


async def _feed(line: Line, audio: AsyncIterator[bytes]) -> None:
    try:
        async for chunk in audio:
            await line.feed(chunk)
    finally:
        await line.finish()


@contextmanager
def _interruptible(feeding: "asyncio.Task[None]") -> Iterator[None]:
    """The first interrupt ends the feeding, the second the task that is in here."""
    loop, whole = asyncio.get_running_loop(), asyncio.current_task()
    ends = iter((feeding, whole))

    def interrupted() -> None:
        task = next(ends, whole)
        if task is not None:
            task.cancel()

    with suppress(NotImplementedError):  # Windows: an interrupt stops at once there
        loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
