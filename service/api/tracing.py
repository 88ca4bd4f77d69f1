"""Every request and every WebSocket in, the same with an id, its times in headers, a log line and a count out.

Outermost but for CORS, so that no fault gets past it: what no handler foresaw becomes a 500 with the error object here,
on a WebSocket a close with 1011. A WebSocket's status is its close code, or that of the response that refused it.
"""

import asyncio
import re
import uuid
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from structlog.contextvars import bound_contextvars

from service.api.client import noted
from service.api.draining import Draining
from service.api.errors import Failure, stopping, unforeseen
from service.api.sockets import FAULT, NORMAL, POLICY, RESTARTING, TRY_LATER, ClientLeft, Socket
from service.api.trace import STATE_KEY, Trace
from service.metrics import Metrics

if TYPE_CHECKING:  # they need an extra
    from service.api.spans import Spans

CLIENT_LEFT = 499
"""Nobody reads this status; logs and counters do (nginx's number for it)."""

LEFT = 1006
"""The client left without a close frame."""

_TOO_LARGE = 1009
"""What the server below says of a message that is over its limit."""

_GOING, _NO_CODE = 1001, 1005
"""How clients leave: a page goes away; a close frame without a code."""

COUNTED = frozenset({NORMAL, POLICY, FAULT, RESTARTING, TRY_LATER, LEFT, _TOO_LARGE, _GOING, _NO_CODE})
"""Close codes that are counted by themselves; a client may choose among thousands."""

OTHER = "other"

REFUSED = 403
"""What a server answers a handshake with that is closed before it was accepted."""

FAILED = 500
"""A status from here on is the server's fault."""

_STOPPING = "The server is stopping."

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_log = structlog.stdlib.get_logger(__name__)


def _tell(trace: Trace) -> None:
    """Log what was said, where that is wanted."""
    if trace.texts:
        _log.info("transcript", request_id=trace.request_id, text=" ".join(trace.texts))


def _key(scope: Scope) -> str | None:
    """The name of the key that let it in."""
    caller = noted(scope)
    return caller.name if caller and caller.by_key else None


class Tracing:
    """The middleware."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        draining: Draining | None = None,
        log_text: bool = False,
        spans: "Spans | None" = None,
    ) -> None:
        self._app, self._log_text, self._spans = app, log_text, spans
        self._metrics = metrics
        self._draining = draining or Draining()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        trace = Trace(_request_id(Headers(scope=scope)), texts=[] if self._log_text else None)
        scope.setdefault("state", {})[STATE_KEY] = trace
        bound = {"request_id": trace.request_id}
        if self._spans is not None and not _is_looked_at(scope["path"]):
            trace.span = self._spans.begin(scope.get("method", "WS"), Headers(scope=scope))
            bound["trace_id"] = trace.span.trace_id
        try:
            with bound_contextvars(**bound):  # so that whatever is logged for it has them
                if scope["type"] == "websocket":
                    await self._session(scope, receive, send, trace)
                else:
                    await self._request(scope, receive, send, trace)
        finally:
            trace.end()

    async def _request(self, scope: Scope, receive: Receive, send: Send, trace: Trace) -> None:
        outgoing = _Outgoing(send, trace, self._draining)
        try:
            await self._app(scope, receive, outgoing.send)
        except ClientDisconnect:
            outgoing.status = CLIENT_LEFT
        except asyncio.CancelledError:
            if outgoing.status is None:  # the server stops, and the time to finish is over
                await stopping().response()(scope, receive, outgoing.send)
        except Exception:
            _log.exception("request failed", request_id=trace.request_id)
            if outgoing.status is not None:
                raise  # half a response is out; only closing the connection tells the client
            await unforeseen().response()(scope, receive, outgoing.send)
        finally:
            self._finish(scope, trace, outgoing.status or CLIENT_LEFT)

    async def _session(self, scope: Scope, receive: Receive, send: Send, trace: Trace) -> None:
        wire = _Wire(receive, send, trace)
        websocket = WebSocket(scope, wire.receive, wire.send)
        try:
            if self._draining.begun:  # it would be let in and sent away at once
                await wire.refuse(websocket, RESTARTING, _STOPPING, stopping())
            else:
                await self._app(scope, wire.receive, wire.send)
        except ClientLeft:
            pass
        except asyncio.CancelledError:
            await wire.refuse(websocket, RESTARTING, _STOPPING, stopping())
        except Exception:
            _log.exception("session failed", request_id=trace.request_id)
            reason = f"The server failed; its log says why under {trace.request_id}."
            await wire.refuse(websocket, FAULT, reason, unforeseen())
        finally:
            self._finish_session(scope, trace, wire)

    def _finish_session(self, scope: Scope, trace: Trace, wire: "_Wire") -> None:
        route, total_ms, code = _template(scope), trace.elapsed_ms(), wire.code or LEFT
        self._metrics.count_request(route=route, status=_counted(code), total_s=total_ms / 1000)
        _log.info(
            "session",
            request_id=trace.request_id,
            path=scope["path"],
            status=code,
            key=_key(scope),
            closed=wire.reason,
            variant=trace.variant,
            audio_s=trace.audio_s,
            finals=trace.finals,
            total_ms=round(total_ms, 1),
            **trace.stages(),
        )
        _tell(trace)
        if trace.span is not None:  # its stages are in the spans of its finals
            failed = code == FAULT or FAILED <= code < NORMAL
            attributes = {**_attributes(scope, trace), "wren.close_code": code}
            trace.span.end(_name(scope), failed=failed, stage_ms={}, attributes=attributes)

    def _finish(self, scope: Scope, trace: Trace, status: int) -> None:
        route, total_ms = _template(scope), trace.elapsed_ms()
        self._metrics.count_request(route=route, status=status, total_s=total_ms / 1000)
        self._metrics.observe_stages(trace.stage_ms)
        self._metrics.count_windows(windows=trace.windows, again=trace.again)
        if trace.variant is not None and trace.audio_s is not None:
            self._metrics.count_audio(variant=trace.variant, duration_s=trace.audio_s, total_s=total_ms / 1000)
        level = _log.debug if _is_looked_at(route) else _log.info
        level(
            "request",
            request_id=trace.request_id,
            method=scope["method"],
            path=scope["path"],
            status=status,
            key=_key(scope),
            variant=trace.variant,
            audio_s=trace.audio_s,
            total_ms=round(total_ms, 1),
            **trace.stages(),
        )
        _tell(trace)
        if trace.span is not None:
            attributes = {**_attributes(scope, trace), "http.response.status_code": status}
            trace.span.end(_name(scope), failed=status >= FAILED, stage_ms=trace.stage_ms, attributes=attributes)


class _Outgoing:
    """Adds the trace's headers to the response and remembers its status.

    While the server stops it says that the connection ends with this response: a proxy that kept it would lose the next
    request in it.
    """

    def __init__(self, send: Send, trace: Trace, draining: Draining) -> None:
        self._send = send
        self._trace = trace
        self._draining = draining
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(self._trace.headers())
            if self._draining.begun:
                headers["Connection"] = "close"
        await self._send(message)


class _Wire:
    """Adds the trace's id to the handshake and remembers how the WebSocket was closed, and by whom.

    Attributes:
        code: of the first close, whichever side it came from; None while it is open.
        reason: that was given with it, after whose it is.
    """

    def __init__(self, receive: Receive, send: Send, trace: Trace) -> None:
        self._receive, self._send, self._trace = receive, send, trace
        self._accepted = False
        self.code: int | None = None
        self.reason = ""

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._close(message.get("code", LEFT), f"client: {message.get('reason') or ''}")
        return message

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                self._accepted = True
                self._name(message)
            case "websocket.http.response.start":
                self._name(message)
                self._close(message["status"], "refused")
            case "websocket.close":
                code = message.get("code", 1000) if self._accepted else REFUSED
                self._close(code, f"server: {message.get('reason') or ''}")
        await self._send(message)

    async def refuse(self, websocket: WebSocket, code: int, reason: str, denial: Failure) -> None:
        """End it, in whatever state it is: before it was accepted with a response, if the server below can send one."""
        if self.code is not None:
            return
        if not self._accepted and "websocket.http.response" in websocket.scope.get("extensions", {}):
            await websocket.send_denial_response(denial.response())
            return
        await Socket(websocket).close(code, reason)

    def _name(self, message: Message) -> None:
        message["headers"] = list(message.get("headers", ()))
        MutableHeaders(scope=message).update({"x-request-id": self._trace.request_id})

    def _close(self, code: int, reason: str) -> None:
        if self.code is None:
            self.code, self.reason = code, reason.removesuffix(": ")


def _is_looked_at(path: str) -> bool:
    """Whether a machine asks for it every few seconds, and nobody asks how that went."""
    return path.startswith("/health") or path == "/metrics"


def _name(scope: Scope) -> str:
    """Of a span."""
    return f"{scope.get('method', 'WS')} {_template(scope)}"


def _attributes(scope: Scope, trace: Trace) -> dict[str, str | float | None]:
    """What a span tells, by OpenTelemetry's names where it has one."""
    return {
        "http.route": _template(scope),
        "http.request.method": scope.get("method", "GET"),
        "url.path": scope["path"],
        "wren.request_id": trace.request_id,
        "wren.variant": trace.variant,
        "wren.audio_s": trace.audio_s,
    }


def _counted(code: int) -> int | str:
    """The label of a session; those below the close codes are statuses of a refusal, which is the server's."""
    return code if code < NORMAL or code in COUNTED else OTHER


def _request_id(headers: Headers) -> str:
    """The client's own if it is short and plain, so that it cannot forge log lines."""
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def _template(scope: Scope) -> str:
    """The route's path pattern: an unknown path must not make a new time series."""
    route = scope.get("route")
    path = getattr(route, "path", None) if isinstance(route, BaseRoute) else None
    return path if isinstance(path, str) else "unknown"
