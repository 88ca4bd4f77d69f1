"""Uvicorn's HTTP over one connection, which waits for headers only so long.

Uvicorn closes a connection that is silent between two requests, and waits for ever for the headers of one: a client
that sends them byte by byte would hold as many connections as it likes.
"""

import asyncio

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Config(uvicorn.Config):
    """With a limit more.

    Attributes:
        header_s: seconds from the opening of a connection, or the first byte of a later request, to its last header.
    """

    header_s: float = 10.0


class HurriedProtocol(HttpToolsProtocol):
    """Closes the connection when time is up. What is sent in between two requests counts as the next one."""

    config: Config
    _hurry: asyncio.TimerHandle | None = None
    _in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        answered = self.cycle is None or self.cycle.response_complete
        if answered and not self._in_body and self._hurry is None and self._is_ours():
            self._begin()

    def on_headers_complete(self) -> None:
        self._end()
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def _is_ours(self) -> bool:
        """Whether it is still for HTTP: a WebSocket has a protocol of its own from its headers on."""
        return self.transport.get_protocol() is self and not self.transport.is_closing()

    def _begin(self) -> None:
        self._hurry = self.loop.call_later(self.config.header_s, self.transport.close)

    def _end(self) -> None:
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None
