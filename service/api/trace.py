"""What becomes known of a request or a WebSocket on its way; `service.api.tracing` begins and ends it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from model_store.manifest import Manifest
from service.api.quota import Allowance
from service.engine.streaming import Final
from service.engine.types import Served

if TYPE_CHECKING:  # it needs an extra
    from service.api.spans import RequestSpan

STATE_KEY = "wren_trace"


def _now_ms() -> float:
    return time.perf_counter() * 1000


@dataclass(slots=True)
class Trace:
    """What becomes known of a request on its way.

    Attributes:
        stage_ms: milliseconds a stage; of a live stream those of its finals, added up.
        texts: what was said, None where nobody wants that logged.
        span: where somebody collects them.
    """

    request_id: str
    variant: str | None = None
    reason: str = ""
    audio_s: float | None = None
    windows: int = 0
    again: int = 0
    finals: int = 0
    stage_ms: dict[str, float] = field(default_factory=dict)
    texts: list[str] | None = None
    allowance: Allowance | None = None
    span: "RequestSpan | None" = None
    started_ms: float = field(default_factory=_now_ms)

    def elapsed_ms(self) -> float:
        return _now_ms() - self.started_ms

    def choose(self, manifest: Manifest, reason: str) -> None:
        """Take over which variant serves it, before there is an answer."""
        self.variant, self.reason = manifest.name, reason

    def record(self, served: Served) -> None:
        """Take over what the engine says of it."""
        self.choose(served.manifest, served.reason)
        self.audio_s = served.transcript.duration_s
        self.windows, self.again = served.windows, served.cascaded
        self.stage_ms.update(served.stage_ms)
        self._keep(served.transcript.text)
        self.reach(self.audio_s)

    def hear(self, final: Final) -> None:
        """Take over what a live stream has got to."""
        self.finals += 1
        self.audio_s = final.end_s
        for stage, spent_ms in final.stage_ms.items():
            self.stage_ms[stage] = self.stage_ms.get(stage, 0.0) + spent_ms
        self._keep(final.text)
        if self.span is not None:
            self.span.hear(final)
        if final.manifest is not None:
            self.variant = final.manifest.name
        self.reach(final.end_s)

    def reach(self, audio_s: float) -> None:
        """Charge the client what was heard up to there."""
        if self.allowance is not None:
            self.allowance.reach(audio_s)

    def check_audio(self) -> None:
        """For a stream that goes on.

        Raises:
            RateLimited: its client has no seconds left.
        """
        if self.allowance is not None:
            self.allowance.check_audio()

    def end(self) -> None:
        """Let the client have another one in its place."""
        if self.allowance is not None:
            self.allowance.release()

    def _keep(self, text: str) -> None:
        if self.texts is not None and text:
            self.texts.append(text)

    def stages(self) -> dict[str, float]:
        """As fields of a log line."""
        return {f"{stage}_ms": round(spent_ms, 1) for stage, spent_ms in self.stage_ms.items()}

    def headers(self) -> Mapping[str, str]:
        """Those of a response that starts now."""
        elapsed_ms = self.elapsed_ms()
        stages = ", ".join(f"{stage};dur={ms:.1f}" for stage, ms in {**self.stage_ms, "total": elapsed_ms}.items())
        named = {"x-wren-variant": self.variant} if self.variant else {}
        if self.reason:  # names of recordings are in it, and they may be in any script
            named["x-wren-variant-reason"] = self.reason.encode("ascii", "replace").decode()
        return {
            "x-request-id": self.request_id,
            "openai-processing-ms": str(round(elapsed_ms)),
            "Server-Timing": stages,
            **named,
            **(self.allowance.headers() if self.allowance else {}),
        }


def trace_of(connection: HTTPConnection) -> Trace:
    """The trace of the request at hand."""
    trace = connection.scope["state"][STATE_KEY]
    if not isinstance(trace, Trace):
        raise TypeError("the tracing middleware is not installed")
    return trace
