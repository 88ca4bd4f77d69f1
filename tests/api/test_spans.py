"""Requests and sessions as spans: of an app with the exporter that remembers, and of a server with a collector."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.testclient import TestClient
from structlog.contextvars import get_contextvars

from service.api.spans import Spans
from service.app import create_app
from service.engine.fake import FakeEngine
from service.engine.fake_stream import Script
from service.engine.streaming import Final
from service.engine.types import Engine, Request, Served
from service.settings import Settings
from tests.api.deepgram import RAW, until_closed
from tests.api.speech import FILE, FOX, client_of, segment
from tests.live import free_port, recording, wren_serve

pytestmark = pytest.mark.anyio

ROUTE = "/v1/audio/transcriptions"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


FOREIGN = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true"}
"""Has FastAPI send what it sees, exceptions and all, unless it is told not to."""


class Remembered:
    """An app, and the spans of what it was asked."""

    def __init__(self, engine: Engine, **settings: object) -> None:
        self._exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        chosen = Settings.model_validate({"model": "fake", **settings})
        self.app: FastAPI = create_app(chosen, engine, spans=Spans(provider))

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def one(self) -> ReadableSpan:
        """That of the only request."""
        (found,) = [span for span in self.all if span.kind is SpanKind.SERVER]
        return found

    def within(self, parent: ReadableSpan) -> list[ReadableSpan]:
        assert parent.context
        return [span for span in self.all if span.parent and span.parent.span_id == parent.context.span_id]


def times(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time
    assert span.end_time
    return span.start_time, span.end_time


async def test_a_request_is_a_span_and_its_stages_are_in_it() -> None:
    remembered = Remembered(FakeEngine(FOX))
    async with client_of(remembered.app) as client:
        answer = await client.post(ROUTE, data={"model": "fake", "prompt": "hush"}, files=FILE)
    one = remembered.one
    assert one.name == f"POST {ROUTE}"
    assert one.attributes
    assert one.attributes["http.response.status_code"] == 200
    assert one.attributes["wren.variant"] == "fake:fp32"
    assert one.attributes["wren.request_id"] == answer.headers["x-request-id"]
    assert one.status.status_code is StatusCode.UNSET
    stages = remembered.within(one)
    assert [span.name for span in stages] == ["upload", "decode", "queue", "encode"]
    assert times(stages[0])[0] == times(one)[0]
    assert all(times(before)[1] == times(after)[0] for before, after in pairwise(stages))
    decoded = next(span for span in stages if span.name == "decode")
    assert times(decoded)[1] - times(decoded)[0] == 1_000_000


async def test_spans_hold_no_text_name_or_key() -> None:
    remembered = Remembered(FakeEngine(FOX), api_keys=("canary-key",))
    async with client_of(remembered.app) as client:
        form = {"model": "fake", "prompt": "canary"}
        for headers in ({"authorization": "Bearer canary-key"}, {"authorization": "Bearer canary-wrong"}):
            files = {"file": ("canary.wav", b"any", "audio/wav")}
            await client.post(f"{ROUTE}?api_key=canary-query", data=form, files=files, headers=headers)
    told = " ".join(span.to_json() for span in remembered.all)
    assert told.count(f"POST {ROUTE}") == 2
    assert "canary" not in told
    assert "fox" not in told


@pytest.mark.parametrize(
    ("given", "continued"),
    [(f"00-{TRACE}-{PARENT}-01", True), ("", False), ("00-nonsense-01", False), (f"ff-{TRACE}-{PARENT}-01", False)],
)
async def test_the_trace_of_a_client_is_continued(given: str, *, continued: bool) -> None:
    remembered = Remembered(FakeEngine(FOX))
    async with client_of(remembered.app) as client:
        answer = await client.post(ROUTE, data={"model": "fake"}, files=FILE, headers={"traceparent": given})
    assert answer.status_code == 200
    one = remembered.one
    assert one.context
    assert (f"{one.context.trace_id:032x}" == TRACE) is continued
    assert (one.parent is not None and f"{one.parent.span_id:016x}" == PARENT) is continued
    assert {span.context.trace_id for span in remembered.all if span.context} == {one.context.trace_id}


async def test_what_a_client_did_not_want_sampled_is_not() -> None:
    remembered = Remembered(FakeEngine(FOX))
    async with client_of(remembered.app) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
        assert (await client.post(ROUTE, data={"model": "fake"}, files=FILE, headers=headers)).status_code == 200
    assert not remembered.all


class Noting(FakeEngine):
    seen: dict[str, object]

    async def transcribe(self, request: Request) -> Served:
        self.seen = get_contextvars()
        raise ZeroDivisionError


async def test_a_fault_is_an_error_and_what_is_logged_of_it_has_the_trace() -> None:
    engine = Noting()
    remembered = Remembered(engine)
    async with client_of(remembered.app) as client:
        assert (await client.post(ROUTE, data={"model": "fake"}, files=FILE)).status_code == 500
    one = remembered.one
    assert one.status.status_code is StatusCode.ERROR
    assert not one.events, "what an exception says may be text"
    assert one.context
    assert engine.seen["trace_id"] == f"{one.context.trace_id:032x}"


async def test_a_mistake_of_the_client_is_no_error() -> None:
    remembered = Remembered(FakeEngine(FOX))
    async with client_of(remembered.app) as client:
        assert (await client.post(ROUTE, data={"model": "none"}, files=FILE)).status_code == 404
    assert remembered.one.status.status_code is StatusCode.UNSET


async def test_health_and_metrics_leave_no_spans() -> None:
    remembered = Remembered(FakeEngine(FOX))
    async with client_of(remembered.app) as client:
        for path in ("/health/ready", "/health/live", "/metrics"):
            await client.get(path)
    assert not remembered.all


def test_a_session_is_a_span_with_one_for_each_final() -> None:
    stage_ms = {"vad": 2.0, "encode": 30.0}
    said = tuple(
        (Final(at, at + 1.0, (segment("fox", at, at + 1.0),), "pause", stage_ms=stage_ms),) for at in (0.0, 1.0)
    )
    remembered = Remembered(FakeEngine(script=Script(audio=said)))
    with TestClient(remembered.app) as client, client.websocket_connect(f"/v1/listen?{RAW}") as session:
        session.send_bytes(bytes(32_000))
        session.send_bytes(bytes(32_000))
        session.send_text('{"type": "CloseStream"}')
        until_closed(session)
    one = remembered.one
    assert one.name == "WS /v1/listen"
    assert one.attributes
    assert one.attributes["wren.close_code"] == 1000
    finals = remembered.within(one)
    assert [span.name for span in finals] == ["final"] * 3
    for final in finals[:2]:
        assert [span.name for span in remembered.within(final)] == ["vad", "encode"]
        assert times(final)[1] - times(final)[0] == 32_000_000
    assert "fox" not in " ".join(span.to_json() for span in remembered.all)


@contextmanager
def collecting(bodies: list[bytes]) -> Iterator[int]:
    """A collector: the port that it listens on, and what it was sent."""

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.path == "/v1/traces":
                bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", ["WREN_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_a_server_sends_its_spans_before_it_ends(name: str, tmp_path: Path) -> None:
    bodies: list[bytes] = []
    with collecting(bodies) as port:
        settings = {
            "WREN_MODEL": "whisper-tiny.en",
            name: f"http://127.0.0.1:{port}",
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
            **FOREIGN,
        }
        with wren_serve(tmp_path / "log", settings) as server, server.client() as client:
            with recording("en/quick_brown_fox").open("rb") as file:
                assert client.post(ROUTE, data={"model": "auto"}, files={"file": file}).status_code == 200
            server.process.terminate()
            assert server.process.wait(timeout=20) == 0
    (resource,) = [one for body in bodies for one in ExportTraceServiceRequest.FromString(body).resource_spans]
    about = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert about["service.name"] == "wren"
    names = [span.name for scope in resource.scope_spans for span in scope.spans]
    assert set(names) == {f"POST {ROUTE}", "upload", "decode", "vad", "queue", "encode", "decode_text"}
    assert not [body for body in bodies if b"brown" in body or server.key.encode() in body]


def test_a_collector_that_is_not_there_holds_up_nothing(tmp_path: Path) -> None:
    settings = {"WREN_MODEL": "whisper-tiny.en", "WREN_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    with wren_serve(tmp_path / "log", settings) as server, server.client() as client:
        with recording("en/quick_brown_fox").open("rb") as file:
            assert client.post(ROUTE, data={"model": "auto"}, files={"file": file}).status_code == 200
        server.process.terminate()
        assert server.process.wait(timeout=10) == 0


@pytest.mark.parametrize("name", ["WREN_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", ""])
def test_a_server_without_the_extra_says_so_in_a_line(name: str) -> None:
    script = f"""
import os, sys
sys.modules["opentelemetry.sdk"] = sys.modules["opentelemetry.exporter"] = None
os.environ[{name!r} or "UNRELATED"] = "http://127.0.0.1:1"
from service import logs
from service.cli.serve import spans
from service.settings import Settings
logs.configure(log_format="json", level="info")
assert spans(Settings().otlp_endpoint) is None
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == (1 if name else 0)
    assert all(name in line and "pip install 'wren-asr[otel]'" in line for line in lines)
