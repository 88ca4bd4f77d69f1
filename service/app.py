"""Settings and an engine in, the web application out: wiring only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse

from service.api import auth, documented, errors
from service.api.admin import AdminRoutes
from service.api.crowd import Crowd
from service.api.deepgram import ListenRoutes
from service.api.deepgram_stream import StreamRoutes
from service.api.draining import Draining
from service.api.gate import Gate
from service.api.headers import SafeHeaders
from service.api.health import HealthRoutes
from service.api.jobs import JobRoutes, Ledger, ended_message, explained_failure
from service.api.keyring import Keyring
from service.api.models import ModelRoutes
from service.api.openai import AudioRoutes
from service.api.plan import PlanRoutes
from service.api.precision import PrecisionRoutes
from service.api.quota import Limits, Quotas
from service.api.realtime import RealtimeRoutes
from service.api.spool import Spool
from service.api.tracing import Tracing
from service.engine.types import Engine
from service.jobs.desk import Jobs
from service.metrics import Metrics
from service.settings import Settings

if TYPE_CHECKING:  # what needs an extra, or a FastAPI that is newer than need be
    from fastapi.telemetry import TelemetryConfig

    from service.api.spans import Spans

NO_TELEMETRY: "TelemetryConfig" = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own, which records what exceptions say; versions before it had one take no notice."""

EXPOSED_HEADERS = (
    "x-request-id",
    "openai-processing-ms",
    "Server-Timing",
    "x-wren-variant",
    "x-wren-variant-reason",
    "Retry-After",
    "retry-after-ms",
    "x-should-retry",
    "dg-request-id",
    *(
        f"x-ratelimit-{what}-{name}"
        for what in ("limit", "remaining", "reset")
        for name in ("requests", "audio-seconds")
    ),
)


def create_app(
    settings: Settings,
    engine: Engine,
    metrics: Metrics | None = None,
    draining: Draining | None = None,
    spans: "Spans | None" = None,
) -> FastAPI:
    """The application; its lifespan starts the engine before the first request and closes it after the last.

    Args:
        settings: what the deployment chose.
        engine: what transcribes.
        metrics: given if the engine counts there too.
        draining: told when the server is to stop.
        spans: of requests, for whoever collects them; closed with the application.
    """
    metrics, draining = metrics or Metrics(), draining or Draining()
    metrics.watch(engine)
    keyring = Keyring(settings.keys, file=settings.keys_file)
    limits = Limits(settings.requests_per_minute, settings.audio_seconds_per_minute, settings.concurrency)
    gate = Gate(keyring, Quotas(limits, on_refused=metrics.rejected))
    jobs = Jobs(settings, engine, explain=explained_failure, body=ended_message, observer=Ledger(metrics, gate.charge))

    async def run_jobs() -> None:
        await draining.unless_begun(jobs.run())  # others may take them then

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await engine.start()
            running = asyncio.create_task(run_jobs())
            try:
                yield
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await jobs.close()
        finally:
            await engine.close()
            if spans is not None:
                await asyncio.to_thread(spans.close)

    async def require_key(connection: HTTPConnection) -> None:
        auth.check(connection, keyring)

    async def require_quota(connection: HTTPConnection) -> None:
        gate.let_in(connection)

    async def require_operator(connection: HTTPConnection) -> None:
        auth.check_operator(connection, keyring)

    app = FastAPI(
        title="Wren",
        summary="Self-hosted speech recognition",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry=NO_TELEMETRY,
    )
    app.add_api_route("/docs", _description, include_in_schema=False)
    spool = Spool(settings.spool_bytes)
    audio, plan = AudioRoutes(settings, engine, spool), PlanRoutes(engine, default=settings.model)
    long = JobRoutes(settings, engine, spool, jobs, taking=[Depends(require_quota)])
    app.include_router(audio.router, dependencies=[Depends(require_quota)], responses=documented.GUARDED)
    for guarded in (ModelRoutes(engine), plan, PrecisionRoutes(engine), long):
        app.include_router(guarded.router, dependencies=[Depends(require_key)], responses=documented.GUARDED)
    app.include_router(ListenRoutes(settings, engine, spool, gate).router)
    app.include_router(StreamRoutes(settings, engine, gate, draining).router)
    admin = AdminRoutes(engine).router
    app.include_router(admin, dependencies=[Depends(require_operator)], responses=documented.GUARDED)
    app.include_router(RealtimeRoutes(settings, engine, gate, draining).router)
    guards = [Depends(require_operator)] if settings.metrics_key else []
    app.include_router(HealthRoutes(engine, metrics, draining, stuck_s=settings.stuck_s, guards=guards).router)
    errors.install(app)
    documented.describe(app)
    _surround(app, settings, metrics, draining, spans)
    return app


def _surround(app: FastAPI, settings: Settings, metrics: Metrics, draining: Draining, spans: "Spans | None") -> None:
    """What every request goes through, the innermost first."""
    app.add_middleware(Crowd, most=settings.max_connections, on_refused=lambda: metrics.rejected("connections"))
    app.add_middleware(Tracing, metrics=metrics, draining=draining, log_text=settings.log_text, spans=spans)
    app.add_middleware(SafeHeaders)
    auth.welcome(app, settings.cors_origins)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )


async def _description() -> RedirectResponse:
    """Instead of FastAPI's page, which loads its scripts from elsewhere."""
    return RedirectResponse("openapi.json")
