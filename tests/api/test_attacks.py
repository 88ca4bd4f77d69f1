"""A real server among clients that speak no protocol: it answers others meanwhile, and holds nothing of them after."""

import os
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.serving import wait_until
from tests.live import LiveServer, wren_serve

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="files are counted on Linux alone")

SETTINGS = {"WREN_MODEL": "whisper-tiny.en:int8", "WREN_UPLOAD_IDLE_S": "1", "WREN_API_KEYS": ""}
AT_ONCE = 100
SLACK = 8
"""Files that a server may open for itself in between."""

POST = b"POST /v1/listen HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
OPENING = (
    b"GET /v1/listen?encoding=linear16&sample_rate=16000 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + b64encode(bytes(16)) + b"\r\n\r\n"
)
ATTACKS = {
    "nothing": b"",
    "half a header": b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "a huge header": b"GET / HTTP/1.1\r\nX: " + b"a" * 2**18,
    "no protocol": os.urandom(64) * 16,
    "half a body": POST + b"Content-Length: 100000\r\n\r\nRIFF",
    "a chunk of no size": CHUNKED + b"zz\r\nabc\r\n",
    "a chunk without an end": CHUNKED + b"ffff\r\nabc",
    "two lengths": POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "many in a pipeline": b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 100,
    "an unmasked frame": OPENING + b"\x81\x05hello",
    "a text that is no UTF-8": OPENING + b"\x81\x82\x00\x00\x00\x00\xff\xff",
    "a frame of 2^62 bytes": OPENING + b"\x82\xff\x40" + bytes(7) + bytes(4),
    "a message in endless parts": OPENING + b"\x01\x80" + bytes(4) + (b"\x00\x81" + bytes(5)) * 1000,
    "a flood of pings": OPENING + (b"\x89\xfd" + bytes(4 + 125)) * 500,
}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with wren_serve(tmp_path_factory.mktemp("attacked") / "log", SETTINGS) as server:
        yield server


def files_of(server: LiveServer) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def is_alive(server: LiveServer) -> bool:
    with server.client() as client:
        return client.get("/health/live", timeout=5).status_code == 200


@pytest.mark.parametrize("attack", ATTACKS)
def test_server_answers_others_and_keeps_nothing(attacked: LiveServer, attack: str) -> None:
    before = files_of(attacked)
    address = ("127.0.0.1", int(attacked.url.rpartition(":")[2]))
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            connection = stack.enter_context(socket.create_connection(address, timeout=5))
            try:
                connection.sendall(ATTACKS[attack])
            except OSError:  # it has had enough: so much the better
                continue
        assert is_alive(attacked)
    wait_until(lambda: files_of(attacked) <= before + SLACK, timeout_s=10)
    assert is_alive(attacked)


def test_no_attack_was_a_fault(attacked: LiveServer) -> None:
    assert "Traceback" not in attacked.log.read_text()
