"""Over real sockets: only there does a client leave."""

import asyncio
import socket
import tempfile
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from service.engine.fake import FakeEngine
from tests.api.serving import served, wait_until
from tests.api.speech import FOX, app_of


def form(**fields: str) -> bytes:
    parts = [
        f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    file = '--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + "x" * 5000
    return ("".join(parts) + file + "\r\n--B--\r\n").encode()


def connect(port: int, body: bytes, *, announced: int | None = None) -> socket.socket:
    """Send a request and leave the connection open."""
    connection = socket.create_connection(("127.0.0.1", port))
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: wren\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        f"Content-Length: {announced or len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.parametrize("stream", ["false", "true"])
def test_work_is_dropped_when_the_client_leaves(stream: str) -> None:
    engine = FakeEngine(FOX, gate=asyncio.Event())
    with served(app_of(engine)) as port, capture_logs() as logs:
        connection = connect(port, form(model="fake", stream=stream))
        wait_until(lambda: engine.requests)
        connection.close()
        wait_until(lambda: engine.dropped == 1)
        wait_until(lambda: [line for line in logs if line.get("status") == 499])


def test_stream_that_has_begun_is_dropped_too() -> None:
    engine = FakeEngine(FOX, gate=asyncio.Event())
    with served(app_of(engine, keep_alive_s=0.02)) as port:
        connection = connect(port, form(model="fake", stream="true"))
        received = b""
        while b": still transcribing" not in received:
            received += connection.recv(4096)
        connection.close()
        wait_until(lambda: engine.dropped == 1)


@pytest.fixture
def spool_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("stream", ["false", "true"])
def test_spooled_upload_is_deleted_when_the_client_leaves(stream: str, spool_folder: Path) -> None:
    engine = FakeEngine(FOX, gate=asyncio.Event())
    with served(app_of(engine, spool_mib=0.001)) as port:
        connection = connect(port, form(model="fake", stream=stream))
        wait_until(lambda: engine.requests)
        assert [engine.requests[0].audio] == list(spool_folder.iterdir())
        connection.close()
        wait_until(lambda: not list(spool_folder.iterdir()))


def test_spooled_upload_is_deleted_when_the_client_leaves_half_way(spool_folder: Path) -> None:
    body = form(model="fake")
    with served(app_of(FakeEngine(FOX), spool_mib=0.001)) as port:
        connection = connect(port, body[:-100], announced=len(body))
        wait_until(lambda: list(spool_folder.iterdir()))
        connection.close()
        wait_until(lambda: not list(spool_folder.iterdir()))


def test_spooled_upload_is_deleted_after_the_answer(spool_folder: Path) -> None:
    engine = FakeEngine(FOX)
    with served(app_of(engine, spool_mib=0.001)) as port:
        url = f"http://127.0.0.1:{port}/v1/audio/transcriptions"
        body, kind = form(model="fake"), "multipart/form-data; boundary=B"
        assert httpx.post(url, content=body, headers={"content-type": kind}).status_code == 200
        assert isinstance(engine.requests[0].audio, Path)
        assert list(spool_folder.iterdir()) == []


def test_refusals_reach_a_client_that_is_still_sending() -> None:
    with served(app_of(FakeEngine(FOX), max_upload_mib=1, api_keys=("right",))) as port:
        url = f"http://127.0.0.1:{port}/v1/audio/transcriptions"
        big = {"file": ("a.wav", bytes(8 * 2**20), "audio/wav")}
        assert httpx.post(url, data={"model": "fake"}, files=big).status_code == 401
        allowed = {"authorization": "Bearer right"}
        assert httpx.post(url, data={"model": "fake"}, files=big, headers=allowed).status_code == 413
        chunks = (bytes(2**16) for _ in range(128))
        kind = {"content-type": "multipart/form-data; boundary=B"}
        start = iter([form(model="fake")[:-10]])
        endless = (chunk for part in (start, chunks) for chunk in part)
        assert httpx.post(url, content=endless, headers={**allowed, **kind}).status_code == 413
