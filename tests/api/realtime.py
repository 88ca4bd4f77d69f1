"""A client of `/v1/realtime` against an app in this process."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from service.engine.fake import FakeEngine
from tests.api.speech import app_of

ADDRESS = "/v1/realtime?intent=transcription"
HUNDRED_MS = bytes(4_800)
"""Of silence, at 24 kHz."""

Said = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Client:
    """What it hears is read with `hear`."""

    socket: WebSocketTestSession

    def say(self, kind: str, **fields: object) -> None:
        self.socket.send_json({"type": kind, **fields})

    def append(self, audio: bytes = HUNDRED_MS) -> None:
        self.say("input_audio_buffer.append", audio=b64encode(audio).decode())

    def hear(self) -> Said:
        told: Said = json.loads(self.socket.receive_text())
        return told

    def hear_until(self, kind: str) -> list[Said]:
        """All up to the first of its kind."""
        told = [self.hear()]
        while told[-1]["type"] != kind:
            told.append(self.hear())
        return told

    def update(self, session: Said, **fields: object) -> Said:
        self.say("session.update", session=session, **fields)
        return self.hear()

    def error(self) -> Said:
        """The error that it is told next."""
        told = self.hear()
        assert told["type"] == "error"
        error = told["error"]
        assert isinstance(error, dict)
        return error

    def closed(self) -> tuple[int, str]:
        """How the server closes, with nothing more to hear."""
        try:
            told = self.hear()
        except WebSocketDisconnect as close:
            return close.code, close.reason
        raise AssertionError(f"not closed, but told {told}")


@contextmanager
def connected(
    engine: FakeEngine,
    address: str = ADDRESS,
    *,
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    **settings: object,
) -> Iterator[Client]:
    with (
        TestClient(app_of(engine, **settings)) as client,
        client.websocket_connect(address, list(subprotocols) or None, headers=dict(headers or {})) as socket,
    ):
        yield Client(socket)


@contextmanager
def session(
    engine: FakeEngine,
    address: str = ADDRESS,
    *,
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    **settings: object,
) -> Iterator[tuple[Client, Said]]:
    """A client that was greeted, and with what session."""
    with connected(engine, address, headers=headers, subprotocols=subprotocols, **settings) as client:
        created = client.hear()
        assert created["type"] == "session.created"
        begun = created["session"]
        assert isinstance(begun, dict)
        yield client, begun
