"""What Prometheus scrapes at `/metrics`. One `Metrics` an app, so that two apps in a process do not share counters.

It is told of requests by the HTTP side and of batches by the engine (`service.engine.types.Observer`), from any thread.
What is true at a moment is asked for when it is scraped. Labels have few values, all of them ours.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.engine.types import Load

STAGE_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)
REQUEST_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
STEP_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0)
ROW_BUCKETS = (1, 2, 4, 8, 16, 32)
REALTIME_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)

Reject = Literal["queue", "deadline"]
Restart = Literal["stuck", "crashed"]


class Metrics:
    """Counters of what was asked and answered, and of what the engine did for it."""

    def __init__(self) -> None:
        # A time of birth for each counter and each bucket is as much text again, and nobody asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for it
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "wren_requests", "Requests answered, by route and status.", ("route", "status"), registry=registry
        )
        self._audio = Counter(
            "wren_audio_seconds", "Seconds of audio transcribed, by variant.", ("variant",), registry=registry
        )
        self._rejected = Counter("wren_rejected", "Requests refused, by reason.", ("reason",), registry=registry)
        self._expired = Counter("wren_expired", "Requests that ran out of time.", registry=registry)
        self._cancelled = Counter("wren_cancelled", "Requests dropped since their client left.", registry=registry)
        self._failed = Counter("wren_failed_windows", "Windows on which the model failed.", registry=registry)
        self._restarts = Counter(
            "wren_executor_restarts", "Executors given up and replaced, by reason.", ("reason",), registry=registry
        )
        for counter, reasons in ((self._rejected, get_args(Reject)), (self._restarts, get_args(Restart))):
            for reason in reasons:
                counter.labels(reason)  # 0 until it happens: a rate needs the value before the first
        self._make_histograms(registry)
        self._gauges = _Gauges()
        registry.register(self._gauges)
        ProcessCollector(registry=registry)

    def _make_histograms(self, registry: CollectorRegistry) -> None:
        def histogram(
            name: str, what: str, buckets: tuple[float, ...] = STAGE_BUCKETS_S, *, by: tuple[str, ...] = ()
        ) -> Histogram:
            return Histogram(name, what, by, buckets=buckets, registry=registry)

        self._total = histogram(
            "wren_request_seconds", "Seconds from request to answer, by route.", REQUEST_BUCKETS_S, by=("route",)
        )
        self._speed = histogram(
            "wren_request_realtime_factor", "Seconds of audio by seconds from request to answer.", REALTIME_BUCKETS
        )
        self._stages = histogram("wren_stage_seconds", "Seconds a request spent in a stage.", by=("stage",))
        self._encode = histogram("wren_encode_seconds", "Seconds an encoder batch took.")
        self._encode_rows = histogram("wren_encode_rows", "Windows in an encoder batch.", ROW_BUCKETS)
        self._step = histogram("wren_step_seconds", "Seconds a decoder step took.", STEP_BUCKETS_S)
        self._step_rows = histogram("wren_step_rows", "Rows in a decoder step.", ROW_BUCKETS)

    def watch(self, load: Callable[[], Load]) -> None:
        """Ask this for the engine's load whenever the metrics are scraped."""
        self._gauges.load = load

    def count_request(self, *, route: str, status: int, total_s: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._total.labels(route).observe(total_s)

    def count_audio(self, *, variant: str, duration_s: float, total_s: float) -> None:
        self._audio.labels(variant).inc(duration_s)
        self._speed.observe(duration_s / total_s)

    def observe_stages(self, stage_ms: Mapping[str, float]) -> None:
        for stage, spent_ms in stage_ms.items():
            self._stages.labels(stage).observe(spent_ms / 1000)

    def encoded(self, *, rows: int, seconds: float) -> None:
        self._encode.observe(seconds)
        self._encode_rows.observe(rows)

    def stepped(self, *, rows: int, seconds: float) -> None:
        self._step.observe(seconds)
        self._step_rows.observe(rows)

    def rejected(self, reason: Reject) -> None:
        self._rejected.labels(reason).inc()

    def expired(self) -> None:
        self._expired.inc()

    def cancelled(self) -> None:
        self._cancelled.inc()

    def failed(self) -> None:
        self._failed.inc()

    def restarted(self, reason: Restart) -> None:
        self._restarts.labels(reason).inc()

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """What is true now, from one look at the engine."""

    def __init__(self) -> None:
        self.load: Callable[[], Load] = Load

    def collect(self) -> Iterator[GaugeMetricFamily]:
        load = self.load()
        for name, what, value in (
            ("queue_audio_seconds", "Seconds of audio accepted and not recognised yet.", load.waiting_s),
            (
                "queue_limit_audio_seconds",
                "Seconds of audio in work beyond which a short clip is refused, at the measured speed.",
                load.limit_s,
            ),
            ("queue_windows", "Windows that wait for the encoder.", load.windows),
            ("rows", "Rows that are being decoded.", load.rows),
            ("realtime_factor", "Seconds of audio recognised a second, as lately measured under load.", load.speed),
            ("executors", "Threads that compute.", load.executors),
            ("stalled_seconds", "Seconds since the last batch was done while there is work.", load.stalled_s),
            ("tasks", "Tasks of the event loop.", _task_count()),
        ):
            yield GaugeMetricFamily(f"wren_{name}", what, value)


def _task_count() -> int:
    """0 outside of an event loop."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0
