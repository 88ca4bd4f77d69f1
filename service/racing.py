"""Work that goes on only for as long as something has not happened."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


class Overtaken(Exception):
    """What was not to happen before the work was done has happened."""


async def unless(event: Coroutine[None, None, object], work: Coroutine[None, None, T]) -> T:
    """The result of the work, if it is done before the event; either way neither goes on.

    Raises:
        Overtaken: the event came first; the work was cancelled.
    """
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(event)
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Overtaken
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
