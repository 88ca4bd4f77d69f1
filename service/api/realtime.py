"""`WS /v1/realtime`: lets a client in and tells it why, where it does not; the session itself is `realtime_session`."""

from contextlib import suppress

from fastapi import APIRouter, WebSocket

from service.api.client import client_of
from service.api.draining import Draining
from service.api.errors import failure_of
from service.api.gate import Gate
from service.api.realtime_configuration import Configuration
from service.api.realtime_session import RealtimeSession
from service.api.realtime_told import error_event
from service.api.sockets import FAULT, POLICY, TRY_LATER, ClientLeft, Socket
from service.api.trace import trace_of
from service.engine.types import Engine
from service.errors import WrenError
from service.settings import Settings

SUBPROTOCOL = "realtime"
_OLDER_SUBPROTOCOL = "openai-beta.realtime-v1"
_OLDER_HEADER = "realtime=v1"


class RealtimeRoutes:
    """The one route."""

    def __init__(self, settings: Settings, engine: Engine, gate: Gate, draining: Draining) -> None:
        self._settings, self._engine, self._gate, self._draining = settings, engine, gate, draining
        self.router = APIRouter()
        self.router.add_api_websocket_route("/v1/realtime", self.listen)

    async def listen(self, websocket: WebSocket) -> None:
        """Accepted in any case: browsers are not told why a handshake was refused."""
        socket = Socket(websocket)
        offered = websocket.scope.get("subprotocols", ())
        await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        try:
            self._gate.let_in(websocket)
            with self._draining.session():
                await self._session(websocket, socket).run(self._draining)
        except Exception as error:
            failure = failure_of(error)
            with suppress(ClientLeft):
                await socket.send(error_event(failure.detail))
            if not isinstance(error, WrenError):
                raise
            await socket.close(close_code(failure.status), failure.detail.message)

    def _session(self, websocket: WebSocket, socket: Socket) -> RealtimeSession:
        named = {"model": websocket.query_params["model"]} if websocket.query_params.get("model") else {}
        update = {"audio": {"input": {"transcription": named}}}
        return RealtimeSession(
            socket,
            self._engine,
            self._settings,
            trace=trace_of(websocket),
            client=client_of(websocket),
            configuration=Configuration.model_validate(update),
            older=_is_older(websocket),
        )


def _is_older(websocket: WebSocket) -> bool:
    """Whether the client was made for the protocol as it was in its beta."""
    protocols = websocket.scope.get("subprotocols", ())
    return _OLDER_SUBPROTOCOL in protocols or _OLDER_HEADER in websocket.headers.get("openai-beta", "")


def close_code(status: int) -> int:
    """For what would have been the status of a response."""
    if status == 429:
        return TRY_LATER
    return POLICY if status < 500 else FAULT
