"""Over real sockets: a client that begins to send and then does nothing."""

import json
import re
import socket
import tempfile
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from service.engine.fake import FakeEngine
from tests.api.serving import served, wait_until
from tests.api.speech import FOX, app_of
from tests.api.test_presence import connect, form

IDLE_S = 0.3


@pytest.fixture
def spool_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    connection.settimeout(5)
    received = b""
    while piece := connection.recv(4096):
        received += piece
    return received


@pytest.mark.parametrize("spool_mib", [0.001, 1], ids=["on disk", "in memory"])
def test_half_a_body_is_answered_with_408_and_the_end_of_the_connection(spool_mib: float, spool_folder: Path) -> None:
    body, engine = form(model="fake"), FakeEngine(FOX)
    with served(app_of(engine, spool_mib=spool_mib, upload_idle_s=IDLE_S)) as port, capture_logs() as logs:
        with connect(port, body[: len(body) // 2], announced=len(body)) as connection:
            wait_until(lambda: spool_mib == 1 or list(spool_folder.iterdir()))
            head, _, answer = rest_of(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in head.lower()
        assert json.loads(answer)["error"]["code"] == "upload_timeout"
        wait_until(lambda: not list(spool_folder.iterdir()))
        wait_until(lambda: [line for line in logs if line.get("status") == 408])
    assert engine.requests == []


def test_slow_client_is_let_finish() -> None:
    body = form(model="fake")
    app = app_of(FakeEngine(FOX), upload_idle_s=0.6)
    with served(app) as port, connect(port, body[:1000], announced=len(body)) as connection:
        connection.settimeout(0.15)
        for start in range(1000, len(body), 1000):
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.sendall(body[start : start + 1000])
        connection.settimeout(5)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted on Linux alone")
def test_crowd_that_hangs_up_in_its_uploads_leaves_nothing(spool_folder: Path) -> None:
    body = form(model="fake")
    with served(app_of(FakeEngine(FOX), spool_mib=0.05)) as port:

        def left() -> tuple[float, float]:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            return measured(text, "wren_tasks"), measured(text, "process_open_fds")

        before = left()
        crowd = [connect(port, body[:-100], announced=len(body)) for _ in range(40)]
        wait_until(lambda: len(list(spool_folder.iterdir())) >= 30)
        assert left()[0] >= before[0] + 40
        for connection in crowd:
            connection.close()
        wait_until(lambda: left() == before)
        assert list(spool_folder.iterdir()) == []


def measured(text: str, metric: str) -> float:
    (found,) = re.findall(rf"^{metric} (\S+)$", text, re.MULTILINE)
    return float(found)
