"""`/health/…`, `/metrics` and the page at `/`: for those who run the server. They need no key, but metrics may.

None of them waits for anything: they answer from what the engine has at hand.
"""

from collections.abc import Sequence
from html import escape
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.params import Depends
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from service.api.documented import TEXT, failures
from service.api.draining import Draining
from service.engine.types import Engine, Load
from service.metrics import Metrics

STALLED_S = 10.0
"""A batch takes tens of milliseconds, on the slowest machine seconds."""

STALLED_SHARE = 0.5
"""Of the time after which an executor is replaced; traffic should go elsewhere before that."""

FULL_SHARE = 0.9
"""Of the queue's limit: nothing is let in over it, so a busy server stays just below."""

_INDEX = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Wren</title>
<h1>Wren</h1>
<p>A speech-recognition server that speaks the OpenAI audio API, whole files and live, and Deepgram's. Try it:</p>
<pre>curl -F file=@speech.wav -F model=auto {base}v1/audio/transcriptions</pre>
<ul>
<li><a href="docs">Every route, for programs</a></li>
<li><a href="v1/models">Models</a></li>
<li><a href="health/ready">Health</a></li>
<li><a href="metrics">Metrics</a></li>
</ul>
</html>
"""


class Alive(BaseModel):
    """The event loop answers."""

    status: Literal["ok"] = "ok"


class Startup(BaseModel):
    """Whether the server has come up; once it has, that is so for good."""

    status: Literal["ok", "loading"]
    reason: str | None = None


Status = Literal["ok", "loading", "failed", "overloaded", "stalled", "stopping"]


class Readiness(BaseModel):
    """Whether to send requests here, why not, and the figures that it follows from."""

    status: Status
    reason: str | None = None
    loaded: list[str]
    waiting_s: float
    limit_s: float
    stalled_s: float
    realtime_factor: float
    rows: int
    windows: int
    executors: int


def readiness(load: Load, *, stuck_s: float, stopping: bool = False) -> Readiness:
    """Ready is who has loaded its model, or can, has room in its queue, and finished a batch lately if it has work."""
    status, reason = _status(load, stalled_limit_s=min(STALLED_S, STALLED_SHARE * stuck_s))
    if stopping:
        status, reason = "stopping", "The server is told to stop."
    return Readiness(
        status=status,
        reason=reason,
        loaded=list(load.loaded),
        waiting_s=round(load.waiting_s, 3),
        limit_s=round(load.limit_s, 3),
        stalled_s=round(load.stalled_s, 3),
        realtime_factor=round(load.speed, 2),
        rows=load.rows,
        windows=load.windows,
        executors=load.executors,
    )


def has_started(load: Load) -> bool:
    """Executors begin their work behind the first model's smoke test; what was loaded may have left memory since."""
    return bool(load.loaded or load.executors)


def _status(load: Load, *, stalled_limit_s: float) -> tuple[Status, str | None]:
    if not has_started(load):
        return "loading", "No model is loaded yet."
    if load.failing is not None:
        return "failed", load.failing
    if load.stalled_s >= stalled_limit_s:
        return "stalled", f"There is work, and for {load.stalled_s:.1f} s no batch of it was done."
    if load.waiting_s >= FULL_SHARE * load.limit_s:
        return "overloaded", f"{load.waiting_s:.0f} s of audio are in work, of {load.limit_s:.0f} s at most."
    return "ok", None


class HealthRoutes:
    """Health, metrics and the index. `guards` are passed by who asks for the metrics."""

    def __init__(
        self, engine: Engine, metrics: Metrics, draining: Draining, *, stuck_s: float, guards: Sequence[Depends] = ()
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._draining = draining
        self._stuck_s = stuck_s
        self._started = False
        self.router = APIRouter(tags=["operation"])
        self.router.add_api_route("/", self.index, methods=["GET"], include_in_schema=False)
        self.router.add_api_route("/health/live", self.live, methods=["GET"])
        self.router.add_api_route(
            "/health/startup",
            self.startup,
            methods=["GET"],
            response_model=Startup,
            responses={503: {"model": Startup, "description": "Wait; `reason` says for what."}},
        )
        self.router.add_api_route(
            "/health/ready",
            self.ready,
            methods=["GET"],
            response_model=Readiness,
            responses={503: {"model": Readiness, "description": "Send requests elsewhere; `reason` says why."}},
        )
        self.router.add_api_route(
            "/metrics",
            self.metrics,
            methods=["GET"],
            response_class=Response,
            dependencies=guards,
            responses={
                200: {"content": {CONTENT_TYPE_LATEST.partition(";")[0]: TEXT}},
                **(failures(401, 403) if guards else {}),
            },
        )

    async def live(self) -> Alive:
        """The event loop answers."""
        return Alive()

    async def startup(self) -> Response:
        """200 once the first model was loaded and tested, whatever happens afterwards; until then 503."""
        self._started = self._started or has_started(self._engine.load())
        if self._started:
            return JSONResponse(Startup(status="ok").model_dump(exclude_none=True))
        waits = Startup(status="loading", reason="The first model is not loaded and tested yet.")
        return JSONResponse(waits.model_dump(), 503)

    async def ready(self) -> Response:
        """200 if requests sent here now are served, else 503 with the reason."""
        health = readiness(self._engine.load(), stuck_s=self._stuck_s, stopping=self._draining.begun)
        return JSONResponse(health.model_dump(exclude_none=True), 200 if health.status == "ok" else 503)

    async def metrics(self) -> Response:
        """The Prometheus text format."""
        return Response(self._metrics.render(), media_type=CONTENT_TYPE_LATEST)

    async def index(self, request: Request) -> HTMLResponse:
        """What this is and where to go."""
        return HTMLResponse(_INDEX.format(base=escape(str(request.base_url))))
