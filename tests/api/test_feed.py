import asyncio
from collections.abc import AsyncGenerator

import pytest

from service.api.feed import QUIET, Feed

pytestmark = pytest.mark.anyio


async def numbers(*, gate: asyncio.Event | None = None, error: Exception | None = None) -> AsyncGenerator[int, None]:
    for number in (1, 2):
        yield number
    if gate is not None:
        await gate.wait()
    if error is not None:
        raise error
    yield 3


async def broken() -> AsyncGenerator[int, None]:
    raise ValueError("at once")
    yield 0


async def test_items_come_in_order_and_end() -> None:
    async with Feed(numbers(), every_s=1) as feed:
        await feed.begin()
        assert [item async for item in feed.items()] == [1, 2, 3]


async def test_silence_is_reported_until_something_comes() -> None:
    gate = asyncio.Event()
    seen = []
    async with Feed(numbers(gate=gate), every_s=0.01) as feed:
        async for item in feed.items():
            seen.append(item)
            if seen.count(QUIET) == 2:
                gate.set()
    assert [item for item in seen if item is not QUIET] == [1, 2, 3]
    assert seen.index(QUIET) == 2


async def test_error_before_the_first_item_shows_at_the_beginning() -> None:
    async with Feed(broken(), every_s=1) as feed:
        with pytest.raises(ValueError, match="at once"):
            await feed.begin()


async def test_error_half_way_comes_after_the_items_before_it() -> None:
    async with Feed(numbers(error=ValueError("half-way")), every_s=1) as feed:
        await feed.begin()
        items = feed.items()
        assert [await anext(items), await anext(items)] == [1, 2]
        with pytest.raises(ValueError, match="half-way"):
            await anext(items)


async def test_a_client_that_does_not_read_does_not_hold_the_stream_up() -> None:
    ended = asyncio.Event()

    async def many() -> AsyncGenerator[int, None]:
        for number in range(100):
            yield number
        ended.set()

    async with Feed(many(), every_s=1) as feed:
        await feed.begin()
        await asyncio.wait_for(ended.wait(), 5)
        assert [item async for item in feed.items()] == list(range(100))


async def test_beginning_does_not_wait_for_ever() -> None:
    async def never() -> AsyncGenerator[int, None]:
        await asyncio.Event().wait()
        yield 0

    async with Feed(never(), every_s=0.01) as feed:
        await feed.begin()


async def test_leaving_the_block_closes_the_stream() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    async with Feed(endless(), every_s=1) as feed:
        await feed.begin()
    assert closed.is_set()
