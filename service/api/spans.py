"""Requests and live streams in; spans of OpenTelemetry out: one each, with their stages in it.

A span tells what a log line does: never texts, names of files, prompts or keys. What it is made with is the extra
`otel`, so nobody imports this module where no spans are asked for. What else OpenTelemetry can be told (a sampler,
headers, a name for the service) is told by its own variables, `OTEL_…`.
"""

import threading
import time
from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service import __version__
from service.engine.streaming import Final

FLUSH_S = 2.0
"""How long the end of the server waits for a collector to take the last spans."""

Attributes = Mapping[str, str | float | None]
"""What is not known is left out."""


class Spans:
    """Makes them with a provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("wren", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def sent(cls, endpoint: str | None) -> "Spans":
        """Those that are sent to a collector: this one, else the one that OpenTelemetry's variables name."""
        own = Resource({"service.name": "wren", "service.version": __version__})
        provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def begin(self, name: str, headers: Mapping[str, str]) -> "RequestSpan":
        """That of a request or a session, which goes on with the trace of the client if that has one (W3C)."""
        return RequestSpan(self._tracer, name, self._propagator.extract(headers, Context()))

    def close(self) -> None:
        """Send the last; a collector that does not answer is given up."""
        ending = threading.Thread(target=self._provider.shutdown, name="wren-spans", daemon=True)
        ending.start()
        ending.join(FLUSH_S)


class RequestSpan:
    """One that has begun. End it in any case."""

    def __init__(self, tracer: Tracer, name: str, parent: Context) -> None:
        self._tracer, self._began_ns = tracer, time.time_ns()
        self._span = tracer.start_span(name, parent, kind=SpanKind.SERVER, start_time=self._began_ns)

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    def hear(self, final: Final) -> None:
        """A final of a live stream, told now: a child, with the stages that led to it."""
        spent_ns = _ns(sum(final.stage_ms.values()))
        start_ns = time.time_ns() - spent_ns
        child = self._child(self._span, "final", start_ns, spent_ns)
        self._stages(child, final.stage_ms, start_ns)

    def end(self, name: str, *, failed: bool, stage_ms: Mapping[str, float], attributes: Attributes) -> None:
        """It is over, and failed if the server did: a client that does is no error here."""
        self._stages(self._span, stage_ms, self._began_ns)
        self._span.update_name(name)
        self._span.set_attributes({key: value for key, value in attributes.items() if value is not None})
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def _stages(self, parent: Span, stage_ms: Mapping[str, float], start_ns: int) -> None:
        """End to end, in their order: windows take turns, so in truth their waits lie between them."""
        for stage, spent_ms in stage_ms.items():
            self._child(parent, stage, start_ns, _ns(spent_ms))
            start_ns += _ns(spent_ms)

    def _child(self, parent: Span, name: str, start_ns: int, spent_ns: int) -> Span:
        child = self._tracer.start_span(name, set_span_in_context(parent), start_time=start_ns)
        child.end(start_ns + spent_ns)
        return child


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)
