"""`wren serve`: the address is taken first, then the model loaded, then the door opened."""

import logging
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import ConfigOption, ModelOption, StoreOption, fail, read_sources, reported
from service.cli.sample import sample_path

if TYPE_CHECKING:
    from service.api.spans import Spans
    from service.origins import Sourced
    from service.settings import Settings

_log = logging.getLogger(__name__)

SWITCH_S = 0.001
"""How long a thread may keep the interpreter from the event loop. With Python's 5 ms one health check in a few hundred
took 50 to 70 ms while 16 clients were served, with 1 ms 35 ms at most."""

COLLECTORS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Variables that every program with OpenTelemetry heeds."""


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for all. [WREN_HOST]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="0 takes any. [WREN_PORT, else 8000]")] = None,
    store: StoreOption = None,
    model: ModelOption = None,
    assigned: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, such as threads=2; may be repeated."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Serve speech recognition over HTTP until interrupted."""
    given = {"host": host, "port": port, "store": store, "model": model}
    sourced = read_sources(given, assigned=assigned or (), config=config)
    with listen(sourced.settings.host, sourced.settings.port) as listener:
        _run(sourced, listener)


def listen(host: str, port: int) -> socket.socket:
    """Take the address before the model is loaded: whether it is free shows at once. Nobody is let in yet."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        fail(f"Cannot listen on {host} port {port}: {error.strerror}. Choose another with --port (PORT=… in make).")
    return listener


def address(host: str, port: int) -> str:
    """Where a server that listens there is reached from this machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where, not what
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def first_request(settings: "Settings", sample: Path, *, port: int) -> str:
    """A command line to try against the server."""
    key = "-H 'Authorization: Bearer KEY' " if settings.keys or settings.keys_file else ""
    url = f"{address(settings.host, port)}/v1/audio/transcriptions"
    return f"curl {key}-F file=@{shlex.quote(str(sample))} -F model=auto {url}"


def spans(endpoint: str | None) -> "Spans | None":
    """What sends traces to a collector, if somebody names one; a line in the log where that cannot be."""
    asked = "WREN_OTLP_ENDPOINT" if endpoint else next((name for name in COLLECTORS if os.environ.get(name)), None)
    if asked is None:
        return None
    try:
        from service.api.spans import Spans
    except ImportError as error:
        _log.warning("No traces are sent, as %s asks: no %s here. Try: pip install 'wren-asr[otel]'", asked, error.name)
        return None
    return Spans.sent(endpoint)


def _run(sourced: "Sourced", listener: socket.socket) -> None:
    from service import logs
    from service.api.draining import Draining
    from service.app import create_app
    from service.cli.server import Server, allow_open_files
    from service.engine.engine import LocalEngine
    from service.engine.heap import few_arenas
    from service.metrics import Metrics

    settings = sourced.settings

    def ready() -> None:
        line = first_request(settings, sample_path(), port=listener.getsockname()[1])
        typer.echo(f"\nWren is ready with {settings.model}. The first request to try:\n\n  {line}\n")

    logs.configure(log_format=settings.log_format, level=settings.log_level)
    for warning in sourced.warnings:
        _log.warning(warning)
    allow_open_files()
    few_arenas()
    sys.setswitchinterval(SWITCH_S)
    with reported(settings):
        metrics = Metrics()
        engine = LocalEngine(settings, observer=metrics)
        draining = Draining()
        app = create_app(settings, engine, metrics, draining, spans(settings.otlp_endpoint))
        Server(app, engine=engine, ready=ready, draining=draining, settings=settings).run(sockets=[listener])
