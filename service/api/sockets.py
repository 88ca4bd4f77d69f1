"""A WebSocket in, messages out that cannot hurt the server: whatever way the client leaves is an end, not a fault.

Also how a session runs: one task hears the client, the other tells it what happens, and the first to end ends both.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Final

from pydantic import BaseModel
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

MAX_REASON_BYTES = 123
"""A control frame holds 125, two of which are the code (RFC 6455, 5.5)."""

PATIENCE_S = 20.0
"""How long a client may take nothing of what it is sent: a phone in a tunnel comes back sooner or not at all."""

NORMAL = 1000
POLICY = 1008
FAULT = 1011
RESTARTING = 1012
TRY_LATER = 1013


class ClientLeft(Exception):
    """There is nobody to tell any more: the client left, or takes nothing of what it is sent."""


class Socket:
    """One connection, from `accept` on. One task may receive and another send at the same time.

    Attributes:
        closed: whether this side has closed it, or need not any more.
    """

    def __init__(self, websocket: WebSocket, *, patience_s: float = PATIENCE_S) -> None:
        self._websocket = websocket
        self._patience_s = patience_s
        self._sending = asyncio.Lock()
        self.closed = False

    async def accept(self, *, subprotocol: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Let the client in.

        Raises:
            ClientLeft: it did not wait.
        """
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
        await self._bounded(self._websocket.accept(subprotocol, encoded))

    async def receive(self, within_s: float | None = None) -> bytes | str | None:
        """The next message; None once the client left, or was closed by this side.

        Raises:
            TimeoutError: nothing came in time; asking again is fine.
        """
        if self._websocket.client_state is WebSocketState.DISCONNECTED:
            return None
        async with asyncio.timeout(within_s):
            message = await self._websocket.receive()
        return self._content(message)

    async def send(self, message: BaseModel, *, nulls: bool = True) -> None:
        """Send it as JSON text, without the keys that are None if `nulls` is false.

        Raises:
            ClientLeft: there is nobody to send it to.
        """
        text = message.model_dump_json(by_alias=True, exclude_none=not nulls)
        async with self._sending:
            if self.closed:
                raise ClientLeft
            await self._bounded(self._websocket.send_text(text))

    async def close(self, code: int, reason: str = "") -> None:
        """Say goodbye, if there is still somebody to say it to. Safe at any time, and more than once."""
        async with self._sending:
            if self.closed:
                return
            self.closed = True
            if self._websocket.client_state is WebSocketState.DISCONNECTED:
                return
            try:
                await self._bounded(self._websocket.close(code, fitting(reason)))
            except ClientLeft:
                return

    def _content(self, message: Message) -> bytes | str | None:
        if message["type"] == "websocket.disconnect":
            self.closed = True
            return None
        text: str | None = message.get("text")
        content: bytes | None = message.get("bytes")
        return text if text is not None else content if content is not None else b""

    async def _bounded(self, sending: Coroutine[None, None, None]) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await sending
        # What servers raise where a client has left is theirs: uvicorn an OSError, Starlette either of its own.
        except (TimeoutError, OSError, WebSocketDisconnect, RuntimeError) as error:
            self.closed = True
            raise ClientLeft from error


async def converse(hearing: Coroutine[None, None, None], telling: Coroutine[None, None, None]) -> None:
    """Run both; the first to end ends the other. That the client left is an end like any other.

    Raises:
        Exception: what either raised, but for `ClientLeft`.
    """
    tasks: Final = (asyncio.ensure_future(hearing), asyncio.ensure_future(telling))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ClientLeft):
            raise error


def fitting(reason: str) -> str:
    """As much of the reason as a close frame holds."""
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
