import asyncio

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from structlog.testing import capture_logs

from service.api.tracing import Tracing
from service.engine.fake import FakeEngine
from service.engine.types import Request, Served
from service.metrics import Metrics
from tests.api.speech import FOX, app_of, client_of, post

pytestmark = pytest.mark.anyio


class BrokenEngine(FakeEngine):
    async def transcribe(self, request: Request) -> Served:
        raise ZeroDivisionError("a secret of ours")


@pytest.mark.parametrize("given", ["abc-123", "req:7.8_9"])
async def test_clients_own_request_id_comes_back(given: str) -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        answer = await client.get("/health/live", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "a\tb", "\u00e9"])
async def test_any_other_request_id_is_replaced(given: str) -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        answer = await client.get("/health/live", headers={b"x-request-id": given.encode()})
    assert answer.headers["x-request-id"].startswith("req_")


async def test_a_request_is_one_log_line_with_its_stages_and_variant() -> None:
    with capture_logs() as lines:
        answer = await post(FakeEngine(FOX), {})
    (line,) = lines
    assert line["event"] == "request"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/audio/transcriptions", 200)
    assert (line["variant"], line["audio_s"], line["decode_ms"]) == ("fake:fp32", 8.47, 1.0)
    assert {"upload_ms", "queue_ms", "encode_ms", "total_ms"} <= set(line)


async def test_unforeseen_fault_is_logged_with_its_id_and_gives_nothing_away() -> None:
    with capture_logs() as lines:
        answer = await post(BrokenEngine(FOX), {})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    failed, request = lines
    assert failed["exc_info"]
    assert failed["request_id"] == request["request_id"] == answer.headers["x-request-id"]
    assert request["status"] == 500


class StoppedEngine(FakeEngine):
    async def transcribe(self, request: Request) -> Served:
        raise asyncio.CancelledError("the server stops")


async def test_a_request_that_is_cut_off_by_the_end_of_the_server_is_told() -> None:
    answer = await post(StoppedEngine(FOX), {})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "server_stopping"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/v1/audio/transcriptions", 405)]
)
async def test_unknown_route_and_method_have_the_error_object(method: str, path: str, status: int) -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]


async def test_metrics_count_requests_stages_and_audio_by_route() -> None:
    app = app_of(FakeEngine(FOX))
    async with client_of(app) as client:
        await client.post("/v1/audio/transcriptions", data={"model": "fake"}, files={"file": ("a", b"x")})
        await client.get("/v1/models/fake")
        await client.get("/nowhere/else")
        text = (await client.get("/metrics")).text
    assert 'wren_requests_total{route="/v1/audio/transcriptions",status="200"} 1.0' in text
    assert 'wren_requests_total{route="/v1/models/{model:path}",status="200"} 1.0' in text
    assert 'wren_requests_total{route="unknown",status="404"} 1.0' in text
    assert 'wren_audio_seconds_total{variant="fake:fp32"} 8.47' in text
    assert 'wren_stage_seconds_count{stage="decode"} 1.0' in text
    assert 'wren_stage_seconds_count{stage="queue"} 1.0' in text
    assert 'wren_request_seconds_count{route="/v1/audio/transcriptions"} 1.0' in text
    assert "wren_request_realtime_factor_count 1.0" in text


def test_websocket_gets_its_id_with_the_handshake() -> None:
    with TestClient(app_of(FakeEngine())) as client:
        with client.websocket_connect("/v1/realtime", headers={"x-request-id": "mine-1"}) as socket:
            assert (b"x-request-id", b"mine-1") in list(socket.extra_headers or ())
        text = client.get("/metrics").text
    assert 'wren_requests_total{route="/v1/realtime",status="1000"} 1.0' in text


@pytest.mark.parametrize(("code", "label"), [(1001, "1001"), (1012, "1012"), (1014, "other"), (4711, "other")])
def test_clients_do_not_choose_the_labels_of_metrics(code: int, label: str) -> None:
    with TestClient(app_of(FakeEngine())) as client, capture_logs() as lines:
        with client.websocket_connect("/v1/realtime") as socket:
            socket.close(code)
        text = client.get("/metrics").text
    assert f'wren_requests_total{{route="/v1/realtime",status="{label}"}} 1.0' in text
    assert next(line["status"] for line in lines if line["event"] == "session") == code


def _tracing(app: ASGIApp) -> TestClient:
    return TestClient(Tracing(app, metrics=Metrics()))


async def _fails_before_it_accepts(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ZeroDivisionError("a secret of ours")


async def _is_stopped(scope: Scope, receive: Receive, send: Send) -> None:
    await WebSocket(scope, receive, send).accept()
    raise asyncio.CancelledError


def test_fault_before_the_handshake_is_a_response_that_says_so() -> None:
    connection = _tracing(_fails_before_it_accepts).websocket_connect("/any")
    with capture_logs() as lines, pytest.raises(WebSocketDenialResponse) as denied, connection:
        pass
    assert denied.value.status_code == 500
    assert denied.value.json()["error"]["code"] == "internal_error"
    assert denied.value.headers["x-request-id"] == lines[0]["request_id"]
    assert [line["event"] for line in lines] == ["session failed", "session"]
    assert (lines[1]["status"], lines[1]["closed"]) == (500, "refused")


def test_session_that_the_end_of_the_server_cuts_off_is_told() -> None:
    with _tracing(_is_stopped).websocket_connect("/any") as socket, pytest.raises(WebSocketDisconnect) as close:
        socket.receive_text()
    assert (close.value.code, close.value.reason) == (1012, "The server is stopping.")


@pytest.mark.parametrize("stream", ["false", "true"])
async def test_text_is_a_line_of_its_own_where_it_is_wanted(stream: str) -> None:
    with capture_logs() as lines:
        async with client_of(app_of(FakeEngine(FOX), log_text=True)) as client:
            form = {"model": "fake", "stream": stream}
            answer = await client.post("/v1/audio/transcriptions", data=form, files={"file": ("a", b"x")})
    (line,) = [line for line in lines if line["event"] == "transcript"]
    assert (line["text"], line["log_level"]) == (FOX.text, "info")
    assert line["request_id"] == answer.headers["x-request-id"]


async def test_text_is_not_logged_unasked() -> None:
    with capture_logs() as lines:
        await post(FakeEngine(FOX), {"stream": "true"})
    assert "fox" not in str(lines)
