"""Does `/health/live` answer at once while the server is busy? Asked by a process of its own, which nothing keeps busy.

Each question is on a new connection, as an orchestrator's is: its time holds the accepting too.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from benchmarks import report
from benchmarks.latency import quantile
from benchmarks.servers import Server

EVERY_S = 0.2
LIMIT_MS = 50
"""What the server promises."""

GIVE_UP_S = 30
PATH = "/health/live"


@dataclass(frozen=True, slots=True)
class Pulse:
    """Milliseconds until the answers of a time; `missed` are those that were none."""

    asked: int
    missed: int
    late: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Liveness:
    """Asks from entry to exit; `pulse` is there afterwards."""

    def __init__(self, server: Server) -> None:
        context = get_context("spawn")
        self._ours, its = context.Pipe()
        self._process = context.Process(target=_ask_until_told, args=(server.url, its), daemon=True)
        self.pulse = Pulse(0, 0, 0, 0, 0, 0)

    def __enter__(self) -> Self:
        self._process.start()
        self._ours.recv()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ours.send(None)
        self.pulse = pulse(self._ours.recv())
        self._process.join()


def pulse(seconds: Sequence[float | None]) -> Pulse:
    """Of the times of the answers, None where there was none."""
    found_ms = [1e3 * one for one in seconds if one is not None]
    p50, p99, most = (quantile(found_ms, share) if found_ms else float("inf") for share in (0.5, 0.99, 1.0))
    late = sum(one > LIMIT_MS for one in found_ms)
    return Pulse(len(seconds), len(seconds) - len(found_ms), late, p50, p99, most)


def show(found: Pulse) -> None:
    columns = ["", "asked", "unanswered", f"over {LIMIT_MS} ms", "p50 ms", "p99 ms", "max ms"]
    cells: list[report.Cell] = [found.asked, found.missed, found.late, found.p50_ms, found.p99_ms, found.max_ms]
    report.show(f"{PATH} meanwhile", columns, [["", *cells]])


def _ask_until_told(url: str, told: Connection) -> None:
    seconds = [_asked(url)]
    told.send(None)
    due = time.monotonic() + EVERY_S
    while not told.poll(max(0.0, due - time.monotonic())):
        seconds.append(_asked(url))
        due = max(due + EVERY_S, time.monotonic())
    told.send(seconds)


def _asked(url: str) -> float | None:
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=GIVE_UP_S)
    started = time.perf_counter()
    try:
        connection.request("GET", PATH)
        return time.perf_counter() - started if connection.getresponse().status == 200 else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
