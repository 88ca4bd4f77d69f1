"""`/v1/jobs`: long recordings that are accepted now, recognised when there is time, and asked for later.

With keys a job is its key's and the operators'. Without keys whoever knows its id may have it, and lists show the
jobs of one's own address.
"""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Literal, Self

import httpx
from fastapi import APIRouter, Query, Request, Response, params
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field, ValidationError, model_validator

from service.api.bodies import explained
from service.api.client import Caller, client_of, noted
from service.api.documented import ASKED, LOADED, UPLOADED, failures
from service.api.errors import ErrorDetail, failure_of
from service.api.fetching import Fetcher, FetchLimits
from service.api.fields import gather
from service.api.formats import render
from service.api.forms import LIST_FIELDS, ResponseFormat, TranscriptionForm
from service.api.openai import TRANSCRIBED, form_documented
from service.api.recordings import recording
from service.api.selection import select
from service.api.spool import Spool
from service.api.uploads import UploadLimits, read_form
from service.engine.types import Engine
from service.errors import JobNotFound, OptionError
from service.jobs.desk import Jobs
from service.jobs.types import Brief, End, HookState, Job, JobError, NewJob, State, Tried
from service.metrics import Metrics
from service.outbound import DestinationRefused, check_url
from service.recognition.types import Task
from service.settings import Settings

PATH = "/v1/jobs"

KEPT = ASKED | LOADED
"""Of every route that looks a job up."""

MOST_KEY = 255
"""Characters of an Idempotency-Key."""

_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": MOST_KEY},
}

MOST_URL = 2048

_LISTED = 100

JobId = Annotated[str, PathParameter(alias="id", max_length=64, description="The job's `id`.")]


class JobForm(TranscriptionForm):
    """The fields of a job: those of a transcription that say what is heard and how, and whom to tell."""

    task: Task = Field(default="transcribe", description="Extra: `translate` gives English.")
    webhook_url: str | None = Field(
        default=None, max_length=MOST_URL, description="Extra: is told when the job has ended."
    )

    @model_validator(mode="after")
    def _later(self) -> Self:
        for name in ("stream", "deadline_s", "keep_alive", "include"):
            if getattr(self, name):
                raise OptionError(f"A job has no '{name}': nobody waits for it. Leave it out.", param=name)
        return self


class ProgressBody(BaseModel):
    """How far it is; `windows` is null until the recording was heard."""

    windows: int | None
    windows_done: int
    fraction: float


class WebhookBody(BaseModel):
    """Whom its end is told, and how that went."""

    url: str
    status: HookState
    attempts: int


class JobBody(BaseModel):
    """A job. Times are seconds since 1970."""

    id: str
    object: Literal["job"] = "job"
    status: State
    created_at: int
    started_at: int | None
    ended_at: int | None
    expires_at: int | None
    model: str
    variant: str | None
    duration: float | None
    progress: ProgressBody
    error: ErrorDetail | None
    result_url: str | None
    webhook: WebhookBody | None


class JobList(BaseModel):
    """Jobs, the latest first."""

    object: Literal["list"] = "list"
    data: list[JobBody]
    has_more: bool


class EndedMessage(BaseModel):
    """What a webhook is sent."""

    type: str
    timestamp: int
    data: JobBody


class Ledger:
    """Counts what becomes of jobs, and charges clients what was recognised for them."""

    def __init__(self, metrics: Metrics, charge: Callable[[str, float], None]) -> None:
        self._metrics, self._charge = metrics, charge

    def job_ended(self, end: End, *, client: str, variant: str | None = None, audio_s: float | None = None) -> None:
        self._metrics.job_ended(end, variant=variant, audio_s=audio_s)
        if end == "completed" and audio_s is not None:
            self._charge(client, audio_s)

    def window_kept(self) -> None:
        self._metrics.window_kept()

    def jobs_counted(self, *, queued: int, running: int) -> None:
        self._metrics.jobs_counted(queued=queued, running=running)

    def webhook_tried(self, outcome: Tried) -> None:
        self._metrics.webhook_tried(outcome)


class JobRoutes:
    """The routes; each checks whose the job is."""

    def __init__(
        self, settings: Settings, engine: Engine, spool: Spool, jobs: Jobs, *, taking: Sequence[params.Depends] = ()
    ) -> None:
        """Make them; `taking` is what the one that takes recordings depends on."""
        self._settings, self._engine, self._spool, self._jobs = settings, engine, spool, jobs
        self._limits = UploadLimits(settings.max_upload_bytes, settings.upload_idle_s)
        self._fetcher = Fetcher(FetchLimits.of(settings), spool)
        self.router = APIRouter(tags=["jobs"])
        add, one = self.router.add_api_route, f"{PATH}/{{id}}"
        add(
            PATH,
            self.create,
            methods=["POST"],
            status_code=202,
            dependencies=taking,
            response_model=JobBody,
            responses=UPLOADED | failures(409),
            openapi_extra=form_documented(JobForm, fetching=settings.fetch_urls) | {"parameters": [_KEY]},
        )
        add(PATH, self.index, methods=["GET"], response_model=JobList, responses=KEPT)
        add(one, self.show, methods=["GET"], response_model=JobBody, responses=KEPT)
        add(one, self.remove, methods=["DELETE"], status_code=204, responses=KEPT)
        add(f"{one}/cancel", self.cancel, methods=["POST"], response_model=JobBody, responses=KEPT)
        add(
            f"{one}/result",
            self.result,
            methods=["GET"],
            response_class=Response,
            responses={**KEPT, **failures(409), 200: TRANSCRIBED},
        )

    async def create(self, request: Request, response: Response) -> JobBody:
        """Accept a recording; it is answered once it is kept, and will be recognised whatever happens."""
        async with AsyncExitStack() as stack:
            upload_form = await stack.enter_async_context(read_form(request, limits=self._limits, spool=self._spool))
            form = _parsed(upload_form.fields)
            upload = await recording(request, upload_form, form.url, self._fetcher, stack)
            new = NewJob(
                id=f"job_{uuid.uuid4().hex}",
                client=client_of(request),
                brief=self._brief(form),
                response_format=form.response_format,
                digest=await asyncio.to_thread(_digest, form, upload.audio()),
                size_bytes=upload.size,
                key=_key(request),
                webhook_url=self._webhook(form),
            )
            job = await self._jobs.accept(new, upload.audio())
        response.headers["Location"] = f"{PATH}/{job.id}"
        return job_body(job)

    async def index(
        self,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=_LISTED)] = 20,
        after: Annotated[str | None, Query(max_length=64, description="Those behind this one.")] = None,
    ) -> JobList:
        """The latest jobs of the key, of all for an operator's."""
        caller = _caller(request)
        behind = await self._found(request, after) if after is not None else None
        whose = None if caller.by_key and "admin" in caller.scopes else caller.name
        found = await self._jobs.listed(whose, after=behind, limit=limit + 1)
        return JobList(data=[job_body(job) for job in found[:limit]], has_more=len(found) > limit)

    async def show(self, request: Request, job_id: JobId) -> JobBody:
        """How far it is."""
        return job_body(await self._found(request, job_id))

    async def cancel(self, request: Request, job_id: JobId) -> JobBody:
        """Stop it; one that has ended is as it was."""
        return job_body(await self._jobs.cancel(await self._found(request, job_id)))

    async def remove(self, request: Request, job_id: JobId) -> Response:
        """Forget all of it, also while it runs."""
        await self._jobs.remove(await self._found(request, job_id))
        return Response(status_code=204)

    async def result(
        self,
        request: Request,
        job_id: JobId,
        response_format: Annotated[
            Literal["json", "text", "srt", "verbose_json", "vtt"] | None,
            Query(description="Shape of the answer; left out, that of the job."),
        ] = None,
        include: Annotated[Literal["logprobs"] | None, Query(description="Adds those of the tokens to json.")] = None,
    ) -> Response:
        """What was said, in any format, as often as it is asked for."""
        job = await self._found(request, job_id)
        transcript = await self._jobs.transcript(job)
        shape: ResponseFormat = response_format or job.response_format  # type: ignore[assignment]  # it was checked
        rendered = await asyncio.to_thread(render, transcript, shape, words=True, logprobs=include is not None)
        return Response(rendered.content, media_type=rendered.media_type)

    async def _found(self, request: Request, job_id: str) -> Job:
        """The job, if it is the caller's to see; else it is as if it were not there."""
        job, caller = await self._jobs.get(job_id), _caller(request)
        if caller.by_key and "admin" not in caller.scopes and job.client != caller.name:
            raise JobNotFound(job_id)
        return job

    def _brief(self, form: JobForm) -> Brief:
        """With the times of words, so that the result can be had in every format."""
        selection = select(self._engine.models(), asked=form.model, variant=form.variant, precision=form.wish)
        options = form.model_copy(update={"response_format": "verbose_json"}).options(form.task)
        return Brief(selection.model, options, form.vad(), form.raw(), selection.precision)

    def _webhook(self, form: JobForm) -> str | None:
        if form.webhook_url is None:
            return None
        if self._settings.webhook_secret is None:
            message = "This server tells nobody: it has no WREN_WEBHOOK_SECRET to sign with. Ask for the job instead."
            raise OptionError(message, param="webhook_url")
        try:
            check_url(httpx.URL(form.webhook_url), frozenset(self._settings.webhook_hosts))
        except (httpx.InvalidURL, DestinationRefused) as error:
            raise OptionError(f"The field 'webhook_url': {error}", param="webhook_url") from error
        return form.webhook_url


def job_body(job: Job) -> JobBody:
    """A job as clients see it."""
    return JobBody(
        id=job.id,
        status=job.state,
        created_at=int(job.created_s),
        started_at=_whole(job.started_s),
        ended_at=_whole(job.ended_s),
        expires_at=_whole(job.expires_s),
        model=job.brief.model,
        variant=job.variant,
        duration=None if job.duration_s is None else round(job.duration_s, 3),
        progress=ProgressBody(windows=job.windows, windows_done=job.done, fraction=_fraction(job)),
        error=None if job.error is None else ErrorDetail.model_validate(job.error, from_attributes=True),
        result_url=f"{PATH}/{job.id}/result" if job.state == "completed" else None,
        webhook=_webhook(job),
    )


def ended_message(job: Job) -> bytes:
    """What the webhook of a job is sent: how it ended, and not what was said."""
    told = EndedMessage(type=f"job.{job.state}", timestamp=_whole(job.ended_s) or 0, data=job_body(job))
    return told.model_dump_json().encode()


def explained_failure(error: Exception) -> JobError:
    """Why a job failed, as a request would have been told."""
    detail = failure_of(error).detail
    return JobError(detail.message, detail.type, detail.param, detail.code)


def _parsed(fields: list[tuple[str, str]]) -> JobForm:
    try:
        return JobForm.model_validate(gather(fields, lists=LIST_FIELDS))
    except ValidationError as error:
        raise explained(error) from error


def _caller(request: Request) -> Caller:
    caller = noted(request.scope)
    if caller is None:
        raise TypeError("nobody has checked who this is")
    return caller


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= MOST_KEY:
        raise OptionError(f"The header Idempotency-Key has 1 to {MOST_KEY} characters.", param="Idempotency-Key")
    return key


def _digest(form: JobForm, audio: bytes | Path) -> str:
    """Of all that was sent."""
    digest = hashlib.sha256(json.dumps(form.model_dump(mode="json"), sort_keys=True).encode())
    if isinstance(audio, bytes):
        digest.update(audio)
        return digest.hexdigest()
    with audio.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _webhook(job: Job) -> WebhookBody | None:
    if job.webhook_url is None:
        return None
    return WebhookBody(url=job.webhook_url, status=job.hook_state, attempts=job.hook_attempts)


def _fraction(job: Job) -> float:
    if job.state == "completed":
        return 1.0
    return round(job.done / job.windows, 4) if job.windows else 0.0


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
