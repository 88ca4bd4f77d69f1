"""A server process with real models, and the recordings to send it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
START_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class LiveServer:
    """Where it answers, and what it wrote so far."""

    url: str
    key: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=60)


@contextmanager
def wren_serve(log: Path, settings: Mapping[str, str], *, port: int | None = None) -> Iterator[LiveServer]:
    """`wren serve` with the store of WREN_STORE, by default the one that `make` fills, on a free port if none is given.

    Raises:
        AssertionError: it is not ready in time or ended; the message has its log.
    """
    key, port = "live-key", port or free_port()
    store = {"WREN_STORE": str(ROOT / ".store")}
    jobs = {"WREN_JOBS_FOLDER": str(log.parent / "jobs")}
    fixed = {"WREN_API_KEYS": key, "WREN_LOG_FORMAT": "json", "WREN_PROFILE_S": "0", **jobs}
    command = [sys.executable, "-m", "service.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**store, **os.environ, **fixed, **settings}, stdout=output, stderr=output
        )
    server = LiveServer(f"http://127.0.0.1:{port}", key, log, process)
    try:
        _wait_until_ready(process, server)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def recording(name: str) -> Path:
    """A recording of pytest-audioeval, such as `en/quick_brown_fox`."""
    return Path(str(files("pytest_audioeval") / f"samples/audio/{name}.wav"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_until_ready(process: subprocess.Popen[bytes], server: LiveServer) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    while not _is_ready(server):
        assert process.poll() is None, f"wren serve ended:\n{server.log.read_text()}"
        assert time.monotonic() < deadline_s, f"wren serve is not ready:\n{server.log.read_text()}"
        time.sleep(0.05)


def _is_ready(server: LiveServer) -> bool:
    try:
        return httpx.get(f"{server.url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False
