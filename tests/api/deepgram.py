"""A client of `WS /v1/listen`, and an engine that plays what is given."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from fastapi import FastAPI
from pydantic.types import JsonValue
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from service.api.deepgram_messages import ResultsMessage
from service.api.deepgram_stream import LARGE_BYTES, StreamRoutes
from service.api.draining import Draining
from service.api.gate import Gate
from service.api.keyring import Keyring
from service.api.quota import UNLIMITED, Quotas
from service.api.tracing import Tracing
from service.engine.fake import FakeEngine, model_info
from service.engine.fake_stream import Script
from service.engine.streaming import (
    Final,
    StreamEvent,
)
from service.errors import WrenError
from service.metrics import Metrics
from service.recognition.types import Segment
from service.settings import Settings
from tests.api.speech import app_of, segment

MANIFEST = model_info("fake", "fp32").manifest
RAW = "encoding=linear16&sample_rate=16000"
HALF_A_SECOND = bytes(16_000)
LARGE = b"\1\0" * (LARGE_BYTES // 2)
HELLO = segment("Hello there.", 0.0, 0.5)
SILENCE = Final(0.0, 0.5, (), "pause")

Message = dict[str, JsonValue]


def playing(
    *pieces: tuple[StreamEvent | WrenError, ...],
    commit: tuple[tuple[Segment, ...], ...] = (),
    finish: tuple[Segment, ...] = (),
) -> FakeEngine:
    """Each piece of audio leads to what is given for it."""
    return FakeEngine(script=Script(audio=pieces, commit=commit, finish=finish))


@contextmanager
def listening(
    engine: FakeEngine,
    query: str = RAW,
    *,
    subprotocols: list[str] | None = None,
    headers: Mapping[str, str] | None = None,
    app: FastAPI | None = None,
    **settings: object,
) -> Iterator[WebSocketTestSession]:
    with (
        TestClient(app or app_of(engine, **settings)) as client,
        client.websocket_connect(f"/v1/listen?{query}", subprotocols, headers=dict(headers or {})) as session,
    ):
        yield session


def impatient(engine: FakeEngine, *, idle_s: float, max_stream_s: float = 60.0) -> FastAPI:
    app = FastAPI()
    gate = Gate(Keyring(), Quotas(UNLIMITED, on_refused=Metrics().rejected))
    app.include_router(
        StreamRoutes(Settings(max_stream_s=max_stream_s), engine, gate, Draining(), idle_s=idle_s).router
    )
    app.add_middleware(Tracing, metrics=Metrics())
    return app


def say(session: WebSocketTestSession, kind: str, **rest: JsonValue) -> None:
    session.send_text(json.dumps({"type": kind, **rest}))


def until_closed(session: WebSocketTestSession) -> tuple[list[Message], int, str]:
    """All messages, and the code and reason of the close."""
    messages: list[Message] = []
    try:
        while True:
            messages.append(session.receive_json())
    except WebSocketDisconnect as end:
        return messages, end.code, end.reason


def kinds(messages: list[Message]) -> list[JsonValue]:
    return [message["type"] for message in messages]


def texts(messages: list[Message]) -> list[str]:
    results = [ResultsMessage.model_validate(message) for message in messages if message["type"] == "Results"]
    return [message.channel.alternatives[0].transcript for message in results]


def refusal_of(
    engine: FakeEngine, query: str = RAW, *, subprotocols: list[str] | None = None, **settings: tuple[str, ...]
) -> WebSocketDenialResponse:
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        TestClient(app_of(engine, **settings)) as client,
        client.websocket_connect(f"/v1/listen?{query}", subprotocols),
    ):
        pass
    return caught.value
