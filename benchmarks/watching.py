"""A server process from outside: the memory, file descriptors and threads it has, and the gauges it shows."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.memory import resident
from benchmarks.servers import Server

OURS = "wren_"

CREATED = "_created"
"""How the names of gauges end that only say since when a counter counts."""


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float
    resident_mib: float
    anonymous_mib: float
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Trend:
    """Of resident memory: how it went, and how far the most was above the least."""

    mib_per_minute: float
    spread_mib: float


def sample(pid: int, *, at_s: float = 0.0) -> Sample:
    memory = resident(pid, "")
    process = Path(f"/proc/{pid}")
    descriptors, threads = (sum(1 for _ in (process / kind).iterdir()) for kind in ("fd", "task"))
    return Sample(at_s, memory.resident, memory.anonymous, descriptors, threads)


async def watched(pid: int, into: list[Sample], *, every_s: float) -> None:
    """A sample now and every so many seconds, until it is cancelled."""
    started = time.monotonic()
    while True:
        into.append(sample(pid, at_s=time.monotonic() - started))
        await asyncio.sleep(every_s)


def trend(samples: Sequence[Sample]) -> Trend:
    """Of at least two samples; the slope is that of least squares."""
    memory = [one.resident_mib for one in samples]
    slope = linear_regression([one.at_s / 60 for one in samples], memory).slope
    return Trend(slope, max(memory) - min(memory))


def last_half(samples: Sequence[Sample]) -> list[Sample]:
    """By time."""
    return [one for one in samples if one.at_s >= samples[-1].at_s / 2]


def gauges(server: Server) -> dict[str, float]:
    """Those of Wren's metrics that tell how much is in work, with their labels."""
    page = httpx.get(f"{server.url}/metrics").raise_for_status().text
    families = (one for one in text_string_to_metric_families(page) if one.type == "gauge")
    found = (one for one in families if one.name.startswith(OURS) and not one.name.endswith(CREATED))
    return {_written(one.name, one.labels): one.value for family in found for one in family.samples}


def _written(name: str, labels: dict[str, str]) -> str:
    return name + "".join(f" {label}={value}" for label, value in labels.items())
