"""Where jobs are handed in and asked for; behind it they are kept, run and told of."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from model_store.manifest import Manifest
from service import __version__
from service.engine.types import Engine
from service.errors import JobConflict, JobNotFound, JobsFull, JobsUnavailable
from service.jobs.database import Database
from service.jobs.runner import Explain, Runner
from service.jobs.sqlite import SqliteDatabase
from service.jobs.store import JobStore
from service.jobs.types import Job, JobObserver, NewJob
from service.jobs.webhook import Webhooks
from service.recognition.types import Segment, Transcript
from service.settings import MIB, Settings
from service.units import parse_signing_secret

FOLDER = ".jobs"
"""In the store."""

FULL_S = 60
"""When to come back; jobs take minutes."""

PAUSE_S = 5.0

_log = logging.getLogger(__name__)


def database_of(settings: Settings) -> Database:
    """Where jobs are to be kept.

    Raises:
        JobsUnavailable: PostgreSQL is asked for and the package for it is not there.
    """
    if settings.jobs_database is None:
        return SqliteDatabase(settings.jobs_folder or settings.store / FOLDER)
    from service.jobs.postgres import PostgresDatabase  # noqa: PLC0415 - an extra

    return PostgresDatabase(settings.jobs_database.get_secret_value())


def build_of(manifest: Manifest) -> str:
    """What tells one build of a variant from another, by which Wren: windows of two do not go together."""
    return f"{__version__} {manifest.digest}"


class Jobs:
    """All methods but `run` raise JobsUnavailable where jobs are off, or cannot be kept now."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        *,
        explain: Explain,
        body: Callable[[Job], bytes],
        observer: JobObserver,
    ) -> None:
        """Make one: `explain` says what a client is told of a failure, `body` what is told of a job's end."""
        self._settings, self._observer = settings, observer
        self._off = "" if settings.jobs else "they are switched off (WREN_JOBS)"
        self._store = JobStore(database_of(settings))
        self._runner = Runner(
            engine,
            self._store,
            parallel=settings.jobs_parallel,
            keep_s=settings.jobs_keep_s,
            explain=explain,
            observer=observer,
            build=build_of,
        )
        secret = settings.webhook_secret
        self._webhooks = secret and Webhooks(
            self._store,
            secret=parse_signing_secret(secret.get_secret_value()),
            hosts=frozenset(settings.webhook_hosts),
            body=body,
            observer=observer,
        )

    async def run(self) -> None:
        """Run jobs until it is cancelled; what runs then is handed back."""
        while not self._off:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._runner.run())
                    if self._webhooks:
                        group.create_task(self._webhooks.run())
            except ExceptionGroup:  # a fault of ours must not be the end of all jobs
                _log.exception("jobs begin again")
                await asyncio.sleep(PAUSE_S)

    async def close(self) -> None:
        """Nobody asks any more, and nothing runs."""
        await self._store.close()

    async def accept(self, job: NewJob, audio: bytes | Path) -> Job:
        """Keep it; when this returns it will be done, whatever happens to the server.

        Raises:
            JobsFull: too many are waiting.
            JobConflict: something else was sent under the same key.
        """
        self._check_on()
        before = await self._of_key(job)
        if before is not None:
            return before
        await self._check_room(job.size_bytes)
        accepted = await self._store.add(job, audio, now_s=time.time()) or await self._of_key(job)
        if accepted is None:
            raise JobConflict("The job of this Idempotency-Key was removed just now.", code="idempotency_conflict")
        _log.info("job %s of %s is accepted", accepted.id, accepted.client or "nobody")
        self._runner.look()
        return accepted

    async def get(self, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            JobNotFound: there is none.
        """
        self._check_on()
        job = await self._store.get(job_id)
        if job is None:
            raise JobNotFound(job_id)
        return job

    async def listed(self, client: str | None, *, after: Job | None, limit: int) -> list[Job]:
        """The latest jobs of a client, of all clients for None, behind another one; at most so many."""
        self._check_on()
        return await self._store.listed(client, after=after, limit=limit)

    async def transcript(self, job: Job) -> Transcript:
        """Of a job that is completed.

        Raises:
            JobConflict: it is not.
        """
        if job.state == "failed" and job.error:
            raise JobConflict(f"The job failed: {job.error.message}", code="job_failed")
        if job.state == "cancelled":
            raise JobConflict("The job was cancelled.", code="job_cancelled")
        if job.state != "completed" or job.duration_s is None:
            raise JobConflict(f"The job is {job.state}. Ask again when it is completed.", code="job_not_finished")
        segments = await self._store.segments(job.id)
        return Transcript(_text(segments), segments, job.languages, job.duration_s, job.brief.options.task)

    async def cancel(self, job: Job) -> Job:
        """See that no more of it is recognised. One that has ended is as it was."""
        cancelled = await self._store.cancel(job.id, now_s=time.time(), keep_s=self._settings.jobs_keep_s)
        self._runner.drop(job.id)
        if cancelled is None:
            return await self.get(job.id)
        self._observer.job_ended("cancelled", client=job.client)
        return cancelled

    async def remove(self, job: Job) -> None:
        """Forget all of it, also while it runs; nobody is told of its end."""
        await self._store.remove(job.id)
        self._runner.drop(job.id)

    def _check_on(self) -> None:
        if self._off:
            raise JobsUnavailable(self._off)

    async def _of_key(self, job: NewJob) -> Job | None:
        before = await self._store.of_key(job.client, job.key) if job.key is not None else None
        if before is not None and before.digest != job.digest:
            message = f"Another recording, or other options, were sent under this Idempotency-Key: job {before.id}."
            raise JobConflict(message, code="idempotency_conflict")
        return before

    async def _check_room(self, size_bytes: int) -> None:
        counts, waiting_bytes = await self._store.waiting()
        most, room_bytes = self._settings.jobs_max, self._settings.jobs_mib * MIB
        if sum(counts.values()) >= most:
            raise JobsFull(f"{most} are waiting (WREN_JOBS_MAX)", retry_after_s=FULL_S)
        if waiting_bytes + size_bytes > room_bytes:
            taken = f"{waiting_bytes / MIB:,.0f} of {room_bytes / MIB:,.0f} MiB are taken (WREN_JOBS_MIB)"
            raise JobsFull(f"{taken}, and this one has {size_bytes / MIB:,.1f}", retry_after_s=FULL_S)


def _text(segments: tuple[Segment, ...]) -> str:
    return "".join(segment.text for segment in segments).strip()
