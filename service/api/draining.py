"""Whether the server is about to stop, for whoever has to end in good order: readiness says so, live streams end."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from service.racing import Overtaken, unless

T = TypeVar("T")


class Draining:
    """Begins once, and is never taken back.

    Attributes:
        sessions: live streams that are open.
    """

    def __init__(self) -> None:
        self._begun, self._cut = asyncio.Event(), asyncio.Event()
        self.sessions = 0

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    def begin(self) -> None:
        """Tell everyone."""
        self._begun.set()

    def cut(self) -> None:
        """Tell live streams that what they have not said by now they cannot say any more."""
        self._cut.set()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Count a live stream for as long as the block lasts."""
        self.sessions += 1
        try:
            yield
        finally:
            self.sessions -= 1

    async def unless_begun(self, work: Coroutine[None, None, T]) -> T | None:
        """The outcome of the work, None if the server is to stop before that: then the work is cancelled."""
        try:
            return await unless(self._begun.wait(), work)
        except Overtaken:
            return None

    async def unless_cut(self, work: Coroutine[None, None, object]) -> None:
        """See the work to its end, or to the end of the time for it; then it is cancelled."""
        with suppress(Overtaken):
            await unless(self._cut.wait(), work)
