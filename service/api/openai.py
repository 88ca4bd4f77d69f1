"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`: from the form to the engine and back."""

import time
from contextlib import AsyncExitStack

from fastapi import APIRouter, Request, Response
from pydantic.json_schema import JsonSchemaValue

from service.api.client import client_of
from service.api.documented import EVENTS, TEXT, UPLOADED
from service.api.events import EventStream, encode
from service.api.feed import Feed
from service.api.fetching import Fetcher, FetchLimits
from service.api.formats import JsonBody, VerboseBody, render
from service.api.forms import TranscriptionForm, parse
from service.api.presence import while_present
from service.api.recordings import recording
from service.api.selection import select
from service.api.spool import Spool, Upload
from service.api.trace import trace_of
from service.api.uploads import UploadForm, UploadLimits, read_form
from service.engine import types as engine_types
from service.engine.types import Engine
from service.recognition.types import Task
from service.settings import Settings

TRANSCRIBED: JsonSchemaValue = {
    "model": JsonBody | VerboseBody,
    "description": "What was said, in the `response_format` that was asked for, or as server-sent events.",
    "content": {"text/plain": TEXT, "text/vtt": TEXT, "text/event-stream": EVENTS},
}


class AudioRoutes:
    """The two routes, which differ in the task alone."""

    def __init__(self, settings: Settings, engine: Engine, spool: Spool) -> None:
        self._settings = settings
        self._engine = engine
        self._limits = UploadLimits(settings.max_upload_bytes, settings.upload_idle_s)
        self._spool = spool
        self._fetcher = Fetcher(FetchLimits.of(settings), spool)
        self.router = APIRouter(tags=["audio"])
        for path, route in (("transcriptions", self.transcribe), ("translations", self.translate)):
            self.router.add_api_route(
                f"/v1/audio/{path}",
                route,
                methods=["POST"],
                response_class=Response,
                responses={**UPLOADED, 200: TRANSCRIBED},
                openapi_extra=form_documented(TranscriptionForm, fetching=settings.fetch_urls),
            )

    async def transcribe(self, request: Request) -> Response:
        """The text of a recording, in the language spoken."""
        return await self._answer(request, "transcribe")

    async def translate(self, request: Request) -> Response:
        """The text of a recording, in English."""
        return await self._answer(request, "translate")

    async def _answer(self, request: Request, task: Task) -> Response:
        async with AsyncExitStack() as stack:
            upload_form = await self._read(request, stack)
            form = parse(upload_form.fields)
            upload = await recording(request, upload_form, form.url, self._fetcher, stack)
            asked = self._asked(request, form, upload=upload, task=task)
            if form.stream:
                return await self._stream(request, form, asked, stack)
            return await self._whole(request, form, asked)

    async def _read(self, request: Request, stack: AsyncExitStack) -> UploadForm:
        began_s = time.perf_counter()
        upload_form = await stack.enter_async_context(read_form(request, limits=self._limits, spool=self._spool))
        trace_of(request).stage_ms["upload"] = (time.perf_counter() - began_s) * 1000
        return upload_form

    def _asked(self, request: Request, form: TranscriptionForm, *, upload: Upload, task: Task) -> engine_types.Request:
        selection = select(self._engine.models(), asked=form.model, variant=form.variant, precision=form.wish)
        return engine_types.Request(
            audio=upload.audio(),
            model=selection.model,
            options=form.options(task),
            vad=form.vad(),
            raw=form.raw(),
            client=client_of(request),
            priority=form.priority,
            deadline_s=form.deadline_s,
            precision=selection.precision,
            keep_alive_s=form.keep_alive,
            on_chosen=trace_of(request).choose,
        )

    async def _whole(self, request: Request, form: TranscriptionForm, asked: engine_types.Request) -> Response:
        served = await while_present(request.receive, self._engine.transcribe(asked))
        trace_of(request).record(served)
        rendered = render(served.transcript, form.response_format, words=form.wants_words, logprobs=form.wants_logprobs)
        return Response(rendered.content, media_type=rendered.media_type)

    async def _stream(
        self, request: Request, form: TranscriptionForm, asked: engine_types.Request, stack: AsyncExitStack
    ) -> Response:
        """The first item is awaited before the status goes out: most faults show by then, and get their own status."""
        feed = await stack.enter_async_context(Feed(self._engine.stream(asked), every_s=self._settings.keep_alive_s))
        await while_present(request.receive, feed.begin())
        trace = trace_of(request)
        events = encode(feed, logprobs=form.wants_logprobs, on_segment=trace.reach, on_served=trace.record)
        return EventStream(events, stack.pop_all())


def form_documented(kind: type[TranscriptionForm], *, fetching: bool) -> dict[str, JsonSchemaValue]:
    """The form as OpenAPI has it; the routes read the body themselves, so FastAPI cannot know it."""
    schema = kind.model_json_schema()
    schema["properties"] = {"file": {"type": "string", "format": "binary"}, **schema["properties"]}
    if fetching:
        schema["anyOf"] = [{"required": ["file"]}, {"required": ["url"]}]
    else:
        schema["required"] = ["file", *schema["required"]]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
