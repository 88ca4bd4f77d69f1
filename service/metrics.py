"""What Prometheus scrapes at `/metrics`. One `Metrics` an app, so that two apps in a process do not share counters."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

STAGE_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)


class Metrics:
    """Counters of what was asked and answered."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "wren_requests", "Requests answered, by route and status.", ("route", "status"), registry=self._registry
        )
        self._stages = Histogram(
            "wren_stage_seconds",
            "Seconds a request spent in a stage.",
            ("stage",),
            buckets=STAGE_BUCKETS_S,
            registry=self._registry,
        )
        self._audio = Counter(
            "wren_audio_seconds", "Seconds of audio transcribed, by variant.", ("variant",), registry=self._registry
        )

    def count_request(self, *, route: str, status: int) -> None:
        self._requests.labels(route, str(status)).inc()

    def count_audio(self, *, variant: str, duration_s: float) -> None:
        self._audio.labels(variant).inc(duration_s)

    def observe_stages(self, stage_ms: Mapping[str, float]) -> None:
        for stage, spent_ms in stage_ms.items():
            self._stages.labels(stage).observe(spent_ms / 1000)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)
