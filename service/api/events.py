"""Segments and the final result in, server-sent events of the OpenAI transcription stream out."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Literal

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.errors import failure_of
from service.api.feed import Feed, Quiet
from service.api.formats import Logprob, TokenUsage, token_logprobs, token_usage
from service.api.presence import while_present
from service.engine.types import Served
from service.recognition.types import Segment

KEEP_ALIVE = b": still transcribing\n\n"
"""A comment: clients skip it, and proxies see that the connection lives."""

_log = logging.getLogger(__name__)


class DeltaEvent(BaseModel):
    """Text that follows what was sent before, and will not change."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str
    logprobs: list[Logprob] | None = None


class DoneEvent(BaseModel):
    """The whole text."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str
    logprobs: list[Logprob] | None = None
    usage: TokenUsage


async def encode(
    feed: Feed[Segment | Served],
    *,
    logprobs: bool,
    on_segment: Callable[[float], None],
    on_served: Callable[[Served], None],
) -> AsyncGenerator[bytes, None]:
    """The bytes of the events: a delta a segment, done at the end, an error object if it fails on the way.

    `on_segment` is told the second where a segment ends before it is sent, `on_served` the whole.
    """
    first = True
    try:
        async for item in feed.items():
            if isinstance(item, Quiet):
                yield KEEP_ALIVE
            elif isinstance(item, Served):
                on_served(item)
                yield _event(_done(item, logprobs=logprobs))
            else:
                on_segment(item.end_s)
                yield _event(_delta(item, first=first, logprobs=logprobs))
                first = False
    except Exception as error:  # the status is sent; the client must still learn of any fault
        _log.warning("stream failed half-way", exc_info=error)
        yield _event(failure_of(error).body(), keep_none=True)


class EventStream(Response):
    """Sends events while the client is there; whatever happens, `stack` is closed after it."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], stack: AsyncExitStack) -> None:
        # nginx would hold events back until its buffer is full.
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await while_present(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._events) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _delta(segment: Segment, *, first: bool, logprobs: bool) -> DeltaEvent:
    """A segment's text has its leading space, so that the deltas add up to the text; the first has none to lead."""
    return DeltaEvent(
        delta=segment.text.lstrip() if first else segment.text,
        logprobs=token_logprobs((segment,)) if logprobs else None,
    )


def _done(served: Served, *, logprobs: bool) -> DoneEvent:
    transcript = served.transcript
    return DoneEvent(
        text=transcript.text,
        logprobs=token_logprobs(transcript.segments) if logprobs else None,
        usage=token_usage(transcript),
    )


def _event(body: BaseModel, *, keep_none: bool = False) -> bytes:
    return f"data: {body.model_dump_json(exclude_none=not keep_none)}\n\n".encode()
