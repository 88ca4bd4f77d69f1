"""Recordings of so many bytes in, the order in which they are heard out: small ones first, large ones in time.

Bytes are all that is known of a recording before it is decoded. A large one lets others of its client overtake it for
as long as its bytes say, but never longer than half a minute, and large ones never take all the threads. Clients share
the threads as they share the executors (`service.engine.queue`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.engine.queue import FairQueue, Place
from service.engine.types import Priority

LONG_BYTES = 2 * 2**20
"""More is long: a minute as plain 16 kHz, ten minutes of Opus at 28 kbit/s. To hear less takes half a second."""

PATIENCE_S = 1 / 2**20
"""Seconds that a recording lets others overtake it, for each of its bytes."""

MOST_PATIENCE_S = 30.0


@dataclass(slots=True, eq=False)
class _Recording:
    long: bool
    let_in: "asyncio.Future[None]"


class Turns:
    """Who may use which of a number of threads. Belongs to one event loop."""

    def __init__(self, threads: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._threads, self._most_long = threads, max(1, threads // 2)
        self._clock = clock
        self._waiting: FairQueue[_Recording] = FairQueue()
        self._running: list[_Recording] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def turn(
        self, size_bytes: int, *, client: str = "", priority: Priority = "interactive"
    ) -> AsyncIterator[None]:
        """Wait for a thread and hold it."""
        patience_s = min(size_bytes * PATIENCE_S, MOST_PATIENCE_S)
        let_in = asyncio.get_running_loop().create_future()
        recording = _Recording(size_bytes > LONG_BYTES, let_in)
        self._waiting.push(recording, Place(client, priority, self._clock() + patience_s, patience_s))
        self._let_in()
        try:
            await let_in
            yield
        finally:
            # Who is cancelled may have been let in at the same moment.
            if recording in self._running:
                self._running.remove(recording)
            else:
                self._waiting.discard(lambda one: one is recording)
            self._let_in()

    def cancel(self) -> None:
        """Cancel the tasks of all that wait."""
        for recording in self._waiting.candidates(len(self._waiting)):
            recording.let_in.cancel()

    def _let_in(self) -> None:
        while len(self._running) < self._threads:
            room = sum(recording.long for recording in self._running) < self._most_long
            in_order = self._waiting.candidates(len(self._waiting))
            first = next((one for one in in_order if (room or not one.long) and not one.let_in.cancelled()), None)
            if first is None:
                return
            self._waiting.take(first)
            self._running.append(first)
            first.let_in.set_result(None)
