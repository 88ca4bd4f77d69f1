"""`/health/live`, `/health/ready`, `/metrics` and the page at `/`: for those who run the server. They need no key."""

from html import escape
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from service.engine.types import Engine
from service.metrics import Metrics

_INDEX = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Wren</title>
<h1>Wren</h1>
<p>A speech-recognition server that speaks the OpenAI audio API. Try it:</p>
<pre>curl -F file=@speech.wav -F model=auto {base}v1/audio/transcriptions</pre>
<ul>
<li><a href="docs">Every route, to try out</a></li>
<li><a href="v1/models">Models</a></li>
<li><a href="health/ready">Health</a></li>
<li><a href="metrics">Metrics</a></li>
</ul>
</html>
"""


class Health(BaseModel):
    """Whether the server is up to it, and the loaded variants."""

    status: Literal["ok", "loading"]
    loaded: list[str] = []


class HealthRoutes:
    """Health, metrics and the index."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self.router = APIRouter(tags=["operation"])
        self.router.add_api_route("/", self.index, methods=["GET"], include_in_schema=False)
        self.router.add_api_route("/health/live", self.live, methods=["GET"])
        self.router.add_api_route("/health/ready", self.ready, methods=["GET"], response_model=Health)
        self.router.add_api_route("/metrics", self.metrics, methods=["GET"], response_class=Response)

    async def live(self) -> Health:
        """The event loop answers."""
        return Health(status="ok")

    async def ready(self) -> Response:
        """200 once a model is loaded and warm, 503 before."""
        loaded = [info.manifest.name for info in self._engine.models() if info.state == "loaded"]
        health = Health(status="ok" if loaded else "loading", loaded=loaded)
        return JSONResponse(health.model_dump(), 200 if loaded else 503)

    async def metrics(self) -> Response:
        """The Prometheus text format."""
        return Response(self._metrics.render(), media_type=CONTENT_TYPE_LATEST)

    async def index(self, request: Request) -> HTMLResponse:
        """What this is and where to go."""
        return HTMLResponse(_INDEX.format(base=escape(str(request.base_url))))
