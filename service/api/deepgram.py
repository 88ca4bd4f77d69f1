"""`POST /v1/listen`: a recording as Deepgram's clients send it, to the engine and back."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.api.bodies import read_json
from service.api.client import client_of
from service.api.deepgram_errors import REQUEST_ID_HEADER, RefusalBody, refusal
from service.api.deepgram_options import ListenOptions, engine_name, parse
from service.api.deepgram_results import ListenBody, metadata_body, results_body
from service.api.documented import failures
from service.api.errors import stopping
from service.api.fetching import OFF, Fetcher, FetchLimits
from service.api.gate import Gate
from service.api.presence import while_present
from service.api.spool import Spool, Upload
from service.api.trace import trace_of
from service.api.uploads import UploadLimits, UploadStalled, read_bare
from service.engine import types as engine_types
from service.engine.types import Engine, Served
from service.errors import EmptyAudio, OptionError, WrenError
from service.settings import Settings

PATH = "/v1/listen"

DOCUMENTED = (400, 401, 403, 408, 413, 415, 429, 500, 503, 504)
"""Statuses of what goes wrong: with Deepgram a model that is not there is a bad request."""

_OTHER_METHODS = ("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

_log = logging.getLogger(__name__)


class _Address(BaseModel):
    """The body that says where the recording is; whatever else is in it means nothing here."""

    url: str


class ListenRoutes:
    """The route. It checks the key itself: whatever goes wrong here is told in Deepgram's words."""

    def __init__(self, settings: Settings, engine: Engine, spool: Spool, gate: Gate) -> None:
        self._gate = gate
        self._fetcher = Fetcher(FetchLimits.of(settings), spool)
        self._engine = engine
        self._limits = UploadLimits(settings.max_upload_bytes, settings.upload_idle_s)
        self._spool = spool
        self.router = APIRouter(tags=["deepgram"])
        self.router.add_api_route(
            PATH,
            self.transcribe,
            methods=["POST"],
            response_model=ListenBody,
            responses=failures(*DOCUMENTED, body=RefusalBody),
            openapi_extra=_documented(fetching=settings.fetch_urls),
        )
        self.router.add_api_route(PATH, self.refuse, methods=list(_OTHER_METHODS), include_in_schema=False)

    async def transcribe(self, request: Request) -> Response:
        """The text of a recording, as Deepgram's pre-recorded API has it."""
        request_id = trace_of(request).request_id
        try:
            self._gate.let_in(request)
            body = await self._answer(request, parse(request.query_params.multi_items()))
        except ClientDisconnect:
            raise
        except asyncio.CancelledError:  # the server stops, and the time to finish is over
            return refusal(_stopping(), request_id=request_id)
        except Exception as error:
            if not isinstance(error, WrenError | HTTPException):
                _log.exception("request failed")
            return refusal(error, request_id=request_id)
        return Response(
            body.model_dump_json(exclude_none=True),
            media_type="application/json",
            headers={REQUEST_ID_HEADER: request_id},
        )

    async def refuse(self, request: Request) -> Response:
        error = HTTPException(405, f"{PATH} takes POST with a recording, or a WebSocket.", {"Allow": "POST"})
        return refusal(error, request_id=trace_of(request).request_id)

    async def _answer(self, request: Request, options: ListenOptions) -> ListenBody:
        model = engine_name(options.model, self._engine.models())
        async with self._received(request) as upload:
            created, sha256 = datetime.now(UTC), await asyncio.to_thread(_digest, upload.audio())
            asked = engine_types.Request(
                audio=upload.audio(),
                model=model,
                options=options.options(),
                raw=options.raw(),
                client=client_of(request),
                on_chosen=trace_of(request).choose,
            )
            served = await while_present(request.receive, self._engine.transcribe(asked))
        trace_of(request).record(served)
        return _body(served, options, request_id=trace_of(request).request_id, sha256=sha256, created=created)

    @asynccontextmanager
    async def _received(self, request: Request) -> AsyncIterator[Upload]:
        began_s = time.perf_counter()
        async with AsyncExitStack() as stack:
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
                stage, upload = "fetch", await self._fetched(request, stack)
            else:
                reading = read_bare(request, limits=self._limits, spool=self._spool)
                stage, upload = "upload", await stack.enter_async_context(reading)
            trace_of(request).stage_ms[stage] = (time.perf_counter() - began_s) * 1000
            if upload.size == 0:
                raise EmptyAudio
            yield upload

    async def _fetched(self, request: Request, stack: AsyncExitStack) -> Upload:
        if not self._fetcher.enabled:
            raise OptionError(f"{OFF} as the body.", param="url")
        try:
            async with asyncio.timeout(self._limits.idle_s):
                address = await read_json(request, _Address)
        except TimeoutError as error:
            raise UploadStalled(idle_s=self._limits.idle_s) from error
        return await while_present(request.receive, stack.enter_async_context(self._fetcher.fetched(address.url)))


def _stopping() -> HTTPException:
    failure = stopping()
    return HTTPException(failure.status, failure.detail.message, failure.headers)


def _body(served: Served, options: ListenOptions, *, request_id: str, sha256: str, created: datetime) -> ListenBody:
    transcript = served.transcript
    return ListenBody(
        metadata=metadata_body(
            served.manifest,
            options,
            request_id=request_id,
            sha256=sha256,
            duration_s=transcript.duration_s,
            created=created,
            live=False,
        ),
        results=results_body(transcript, options, request_id=request_id),
    )


def _digest(audio: bytes | Path) -> str:
    if isinstance(audio, bytes):
        return hashlib.sha256(audio).hexdigest()
    with audio.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _documented(*, fetching: bool) -> dict[str, object]:
    """The query and the body as OpenAPI has them; the route reads them itself, so FastAPI cannot know."""
    schema = ListenOptions.model_json_schema()
    parameters = [
        {"name": name, "in": "query", "required": False, "description": one.pop("description", ""), "schema": one}
        for name, one in schema["properties"].items()
    ]
    recording: dict[str, object] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    if fetching:
        recording["application/json"] = {"schema": _Address.model_json_schema()}
    return {
        "parameters": parameters,
        "requestBody": {"required": True, "content": recording},
    }
