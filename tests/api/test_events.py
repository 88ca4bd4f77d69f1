import asyncio
import json

import pytest

from service.api.events import KEEP_ALIVE, encode
from service.api.feed import Feed
from service.engine.fake import FakeEngine
from service.engine.types import Request, Served
from tests.api.speech import FOX

pytestmark = pytest.mark.anyio


async def test_waiting_stream_is_kept_alive_with_comments() -> None:
    gate = asyncio.Event()
    sent: list[bytes] = []
    served: list[Served] = []
    ends_s: list[float] = []
    async with Feed(FakeEngine(FOX, gate=gate).stream(Request(b"")), every_s=0.01) as feed:
        async for event in encode(feed, logprobs=False, on_segment=ends_s.append, on_served=served.append):
            sent.append(event)
            if sent.count(KEEP_ALIVE) == 3:
                gate.set()
    assert sent[:3] == [KEEP_ALIVE] * 3
    last = json.loads(sent[-1].removeprefix(b"data: "))
    assert last["text"] == FOX.text
    assert [done.transcript for done in served] == [FOX]
    assert ends_s == [segment.end_s for segment in FOX.segments]


async def test_fault_that_nobody_foresaw_ends_the_stream_with_an_error_that_gives_nothing_away() -> None:
    async with Feed(FakeEngine().stream(Request(b"")), every_s=1) as feed:
        events = encode(feed, logprobs=False, on_segment=lambda _: None, on_served=lambda _: None)
        (event,) = [event async for event in events]
    error = json.loads(event.removeprefix(b"data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert "transcript" not in error["message"]
