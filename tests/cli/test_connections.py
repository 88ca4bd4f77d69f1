"""Over real sockets: clients whose headers do not end."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from websockets.sync.client import connect

from service.cli.connections import Config, HurriedProtocol
from service.engine.fake import FakeEngine
from tests.api.serving import wait_until
from tests.api.speech import FOX, app_of

HEADER_S = 0.3
DRIPPING = {"lines": b"\r\n", "a header": b"GET / HTTP/1.1\r\nX-A: " + b"a" * 1000}
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def hurried(app: ASGIApp) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config(app, http=HurriedProtocol, log_config=None, access_log=False, lifespan="on")
    config.header_s = HEADER_S
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def port() -> Iterator[int]:
    with hurried(app_of(FakeEngine(FOX))) as port:
        yield port


def opened(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def seconds_until_closed(connection: socket.socket, dripping: bytes) -> float:
    """With a byte sent every now and then."""
    connection.settimeout(0.02)
    began_s = time.monotonic()
    for number in range(250):
        try:
            connection.sendall(dripping[number % len(dripping) :][:1])
            if not connection.recv(4096):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        pytest.fail("it is still open")
    return time.monotonic() - began_s


@pytest.mark.parametrize("dripping", DRIPPING)
def test_headers_that_do_not_end_are_not_waited_for(port: int, dripping: str) -> None:
    with opened(port) as connection:
        taken_s = seconds_until_closed(connection, DRIPPING[dripping])
    assert HEADER_S / 2 < taken_s < 3


def test_who_sends_nothing_is_not_waited_for(port: int) -> None:
    with opened(port) as connection:
        assert connection.recv(1) == b""


@pytest.mark.parametrize("dripping", DRIPPING)
def test_a_later_request_has_no_more_time_than_the_first(port: int, dripping: str) -> None:
    with opened(port) as connection:
        for _ in range(2):
            connection.sendall(LIVE)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        taken_s = seconds_until_closed(connection, DRIPPING[dripping])
    assert HEADER_S / 2 < taken_s < 3


def test_a_body_and_an_answer_may_take_longer() -> None:
    app = FastAPI()

    @app.post("/slow")
    async def slow() -> str:
        await asyncio.sleep(2 * HEADER_S)
        return "done"

    with hurried(app) as port, opened(port) as connection:
        connection.sendall(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
        connection.settimeout(2 * HEADER_S)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.sendall(b"}")
        connection.settimeout(5)
        assert b"done" in connection.recv(4096)


def test_a_websocket_stays_open(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/v1/realtime") as session:
        assert "session.created" in session.recv(timeout=5)
        with pytest.raises(TimeoutError):
            session.recv(timeout=3 * HEADER_S)
        session.send("{}")
        assert "error" in session.recv(timeout=5)
