"""A stream of the engine in, its items out, with a sign of life whenever none came for a while.

The stream runs in one task of its own: waiting with a time limit must not cancel the step it waits for.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")


MOST_AHEAD = 10_000
"""Items kept for a client that reads slowly or not at all: a day's speech in sentences. Its text is small, and a stream
that had to wait for it would keep its audio in work."""


class Quiet:
    """Nothing came for `every_s` seconds."""


QUIET: Final = Quiet()


class _End:
    """The stream is over, well or not."""


_END: Final = _End()


class Feed(Generic[T]):
    """Iterate to get the items; leaving the block closes the stream."""

    def __init__(self, stream: AsyncIterator[T], *, every_s: float) -> None:
        self._stream = stream
        self._every_s = every_s
        self._queue: asyncio.Queue[T | _End] = asyncio.Queue(MOST_AHEAD)
        self._begun = asyncio.Event()
        self._flowing = False
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        self._pump = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)

    async def begin(self) -> None:
        """Wait for the first item, at most `every_s`; a stream that fails before it raises its error here."""
        try:
            async with asyncio.timeout(self._every_s):
                await self._begun.wait()
        except TimeoutError:
            return
        if self._error is not None and not self._flowing:
            raise self._error

    async def items(self) -> AsyncGenerator[T | Quiet, None]:
        """The items and signs of life; raises what the stream raised."""
        while True:
            try:
                async with asyncio.timeout(self._every_s):
                    item = await self._queue.get()
            except TimeoutError:
                yield QUIET
                continue
            if isinstance(item, _End):
                break
            yield item
        if self._error is not None:
            raise self._error

    async def _run(self) -> None:
        try:
            await self._forward()
        except Exception as error:  # whatever it is, it belongs to the consumer
            self._error = error
        finally:
            self._begun.set()
        await self._queue.put(_END)

    async def _forward(self) -> None:
        try:
            async for item in self._stream:
                self._flowing = True
                self._begun.set()
                await self._queue.put(item)
        finally:
            if isinstance(self._stream, AsyncGenerator):
                await self._stream.aclose()
