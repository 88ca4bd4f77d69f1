"""Every request and WebSocket in, no more of them at a time than may be out: the others are told to come back.

Within `Tracing`, so that what is refused has an id and a log line too. Probes are always answered: a full server is
well.
"""

from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from service.api.deepgram import PATH
from service.api.deepgram_errors import refusal
from service.api.errors import crowded
from service.api.trace import trace_of

_PROBES = ("/health/", "/metrics")


class Crowd:
    """The middleware. A connection counts while a request is in it, from the end of its headers, or a WebSocket."""

    def __init__(self, app: ASGIApp, *, most: int | None, on_refused: Callable[[], None]) -> None:
        self._app, self._most, self._on_refused = app, most, on_refused
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"].startswith(_PROBES):
            await self._app(scope, receive, send)
        elif self._most is not None and self._inside >= self._most:
            self._on_refused()
            await self._refuse(scope, receive, send)
        else:
            await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = _refusal(HTTPConnection(scope))
        if scope["type"] == "http":
            await response(scope, receive, send)
        else:
            await WebSocket(scope, receive, send).send_denial_response(response)


def _refusal(connection: HTTPConnection) -> Response:
    failure = crowded()
    if connection.scope["path"] != PATH:
        return failure.response()
    error = HTTPException(failure.status, failure.detail.message, failure.headers)
    return refusal(error, request_id=trace_of(connection).request_id)
