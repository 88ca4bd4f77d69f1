"""What Prometheus scrapes at `/metrics`. One `Metrics` an app, so that two apps in a process do not share counters.

It is told of requests by the HTTP side and of batches by the engine (`service.engine.types.Observer`), from any thread.
What is true at a moment is asked for when it is scraped. Labels have few values, all of them ours.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service import __version__
from service.api.quota import Limit
from service.engine.precision import Cause
from service.engine.types import Engine, Event, Load, ModelInfo, PrecisionReport

STAGE_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)
REQUEST_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
STEP_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0)
ROW_BUCKETS = (1, 2, 4, 8, 16, 32)
SWITCH_BUCKETS_S = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
LAG_BUCKETS_S = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 5.0, 10.0)
REALTIME_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)

Reject = Literal["queue", "deadline", "streams"]
TurnedAway = Literal[Limit, "connections"]
"""Before the engine is asked."""
Restart = Literal["stuck", "crashed"]
Outcome = Literal["loaded", "failed"]
Sketched = Literal["told", "dropped"]
Ended = Literal["completed", "failed", "cancelled"]
Tried = Literal["delivered", "refused", "given_up"]


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
        self._windows = Counter("wren_windows", "Windows of speech recognised.", registry=registry)
        self._again = Counter(
            "wren_windows_again", "Windows that the larger model of a cascade decoded too.", registry=registry
        )
        self._rejected = Counter("wren_rejected", "Requests refused, by reason.", ("reason",), registry=registry)
        self._expired = Counter("wren_expired", "Requests that ran out of time.", registry=registry)
        self._cancelled = Counter("wren_cancelled", "Requests dropped since their client left.", registry=registry)
        self._failed = Counter("wren_failed_windows", "Windows on which the model failed.", registry=registry)
        self._restarts = Counter(
            "wren_executor_restarts", "Executors given up and replaced, by reason.", ("reason",), registry=registry
        )
        self._loads = Counter(
            "wren_variant_loads", "Variants loaded or not to be loaded, by outcome.", ("outcome",), registry=registry
        )
        self._unloads = Counter("wren_variant_unloads", "Variants taken out of memory.", registry=registry)
        self._switches = Counter(
            "wren_switches", "Times that another variant took over, by cause.", ("cause",), registry=registry
        )
        self._interims = Counter(
            "wren_stream_interims", "Interim results of live streams, by outcome.", ("outcome",), registry=registry
        )
        self._jobs_ended = Counter("wren_jobs_ended", "Jobs that ended, by state.", ("state",), registry=registry)
        self._webhooks = Counter("wren_webhooks", "Webhooks tried, by outcome.", ("outcome",), registry=registry)
        self._jobs = Gauge("wren_jobs", "Jobs that have not ended, by state.", ("state",), registry=registry)
        for counter, kinds in (
            (self._jobs_ended, Ended),
            (self._webhooks, Tried),
            (self._interims, Sketched),
            (self._rejected, Reject),
            (self._rejected, TurnedAway),
            (self._restarts, Restart),
            (self._loads, Outcome),
            (self._switches, Cause),
        ):
            for kind in get_args(kinds):
                counter.labels(kind)  # 0 until it happens: a rate needs the value before the first
        self._make_histograms(registry)
        about = Info("wren_build", "What serves; always 1.", registry=registry)
        about.info({"version": __version__, "python": python_version(), "onnxruntime": _version("onnxruntime")})
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
        self._stages = histogram(
            "wren_stage_seconds",
            "Seconds that a request, or a final of a live stream, spent in a stage.",
            by=("stage",),
        )
        self._encode = histogram("wren_encode_seconds", "Seconds an encoder batch took.")
        self._encode_rows = histogram("wren_encode_rows", "Windows in an encoder batch.", ROW_BUCKETS)
        self._step = histogram("wren_step_seconds", "Seconds a decoder step took.", STEP_BUCKETS_S)
        self._step_rows = histogram("wren_step_rows", "Rows in a decoder step.", ROW_BUCKETS)
        self._load = histogram(
            "wren_variant_load_seconds", "Seconds to load a variant, its warm-up and test included.", SWITCH_BUCKETS_S
        )
        self._switch = histogram(
            "wren_switch_seconds", "Seconds from the decision to another variant until it serves.", SWITCH_BUCKETS_S
        )

        self._lag = histogram(
            "wren_stream_lag_seconds",
            "Seconds that interims and finals of live streams are told behind their audio.",
            LAG_BUCKETS_S,
            by=("kind",),
        )

    def watch(self, engine: Engine) -> None:
        """Ask this one how it is whenever the metrics are scraped."""
        self._gauges.engine = engine

    def count_request(self, *, route: str, status: int | str, total_s: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._total.labels(route).observe(total_s)

    def count_audio(self, *, variant: str, duration_s: float, total_s: float) -> None:
        self._audio.labels(variant).inc(duration_s)
        self._speed.observe(duration_s / total_s)

    def count_windows(self, *, windows: int, again: int) -> None:
        self._windows.inc(windows)
        self._again.inc(again)

    def observe_stages(self, stage_ms: Mapping[str, float]) -> None:
        for stage, spent_ms in stage_ms.items():
            self._stages.labels(stage).observe(spent_ms / 1000)

    def encoded(self, *, rows: int, seconds: float) -> None:
        self._encode.observe(seconds)
        self._encode_rows.observe(rows)

    def stepped(self, *, rows: int, seconds: float) -> None:
        self._step.observe(seconds)
        self._step_rows.observe(rows)

    def rejected(self, reason: Reject | TurnedAway) -> None:
        self._rejected.labels(reason).inc()

    def expired(self) -> None:
        self._expired.inc()

    def cancelled(self) -> None:
        self._cancelled.inc()

    def failed(self) -> None:
        self._failed.inc()

    def sketched(self, *, lag_s: float | None) -> None:
        self._interims.labels("dropped" if lag_s is None else "told").inc()
        if lag_s is not None:
            self._lag.labels("interim").observe(lag_s)

    def settled(self, *, lag_s: float, audio_s: float, variant: str, stage_ms: Mapping[str, float]) -> None:
        self.observe_stages(stage_ms)
        self._audio.labels(variant).inc(audio_s)
        self._lag.labels("final").observe(lag_s)

    def restarted(self, reason: Restart) -> None:
        self._restarts.labels(reason).inc()

    def happened(self, event: Event) -> None:
        match event.kind:
            case "loaded":
                self._loads.labels("loaded").inc()
                self._load.observe(event.took_s)
            case "failed":
                self._loads.labels("failed").inc()
            case "unloaded":
                self._unloads.inc()
            case "switched":
                self._switches.labels(event.cause).inc()
                self._switch.observe(event.took_s)

    def job_ended(self, end: Ended, *, variant: str | None = None, audio_s: float | None = None) -> None:
        self._jobs_ended.labels(end).inc()
        if variant is not None and audio_s is not None:
            self._audio.labels(variant).inc(audio_s)

    def window_kept(self) -> None:
        self._windows.inc()

    def jobs_counted(self, *, queued: int, running: int) -> None:
        self._jobs.labels("queued").set(queued)
        self._jobs.labels("running").set(running)

    def webhook_tried(self, outcome: Tried) -> None:
        self._webhooks.labels(outcome).inc()

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """What is true now, from one look at the engine."""

    def __init__(self) -> None:
        self.engine: Engine | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        engine = self.engine
        yield from _of_load(engine.load() if engine else Load())
        yield from _of_precision(engine.precision() if engine else None)
        yield from _of_variants(engine.models() if engine else ())


def _of_load(load: Load) -> Iterator[GaugeMetricFamily]:
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
        ("streams", "Live streams that are open.", load.streams),
        ("streams_limit", "Live streams beyond which more are refused.", load.streams_limit),
        (
            "stream_lag_worst_seconds",
            "Seconds that the last final of an open live stream came behind its audio, the worst.",
            load.stream_lag_s,
        ),
        ("tasks", "Tasks of the event loop.", _task_count()),
    ):
        yield GaugeMetricFamily(f"wren_{name}", what, value)


def _of_precision(report: PrecisionReport | None) -> Iterator[GaugeMetricFamily]:
    """A model that an order has off its ladder has no rung, and without a limit there is none."""
    delay_s = report.signals.delay_s if report else 0.0
    yield GaugeMetricFamily("wren_queue_delay_seconds", "Seconds that recordings lately waited at most.", delay_s)
    resident = GaugeMetricFamily("wren_resident_bytes", "Bytes of this process in memory, as the policy sees them.")
    limit = GaugeMetricFamily("wren_memory_limit_bytes", "Bytes that this process may have in memory.")
    rung = GaugeMetricFamily("wren_rung", "Rung that serves a model; 0 is the best.", labels=("model",))
    interims = GaugeMetricFamily("wren_interims", "1 while interim results are computed.", labels=("model",))
    if report:
        resident.add_metric((), report.resident_bytes)
        if report.memory_bytes is not None:
            limit.add_metric((), report.memory_bytes)
        for one in report.models:
            names = [each.name for each in one.ladder.rungs]
            if one.serving in names:
                rung.add_metric((one.model,), names.index(one.serving))
            interims.add_metric((one.model,), one.interims)
    yield from (resident, limit, rung, interims)


def _of_variants(infos: Iterable[ModelInfo]) -> Iterator[GaugeMetricFamily]:
    leases = GaugeMetricFamily("wren_variant_leases", "Requests that use a variant.", labels=("variant",))
    size = GaugeMetricFamily("wren_variant_bytes", "Bytes that the process grew by for it.", labels=("variant",))
    gpu = GaugeMetricFamily("wren_variant_gpu_bytes", "Bytes that its weights take on GPUs.", labels=("variant",))
    for info in infos:
        if info.memory_bytes is not None:
            leases.add_metric((info.manifest.name,), info.leases)
            size.add_metric((info.manifest.name,), info.memory_bytes)
            gpu.add_metric((info.manifest.name,), info.gpu_memory_bytes or 0)
    yield from (leases, size, gpu)


def _task_count() -> int:
    """0 outside of an event loop."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


def _version(package: str) -> str:
    """As it is installed; builds for GPUs have other names."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
