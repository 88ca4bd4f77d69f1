"""Jobs to transcripts: takes what waits, has it recognised in the background, keeps each window as it is done.

A job is resumed behind the last window that was kept. So that its windows go together, it stays with the variant, and
the very build of it, that recognised the first; where that is gone, it begins anew.
"""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TypeVar

from model_store.manifest import Manifest
from service.engine.types import Engine, Request, Resumption, Served, WindowDone
from service.errors import (
    JobsUnavailable,
    ModelNotFound,
    ModelUnavailable,
    NoRoom,
    Overloaded,
    RecognitionFailed,
    WrenError,
)
from service.jobs.store import JobStore
from service.jobs.types import End, Job, JobError, JobObserver
from service.racing import Overtaken, unless

LEASE_S = 15.0
"""After so long another server takes a job whose server says nothing any more."""

RENEW_S = LEASE_S / 3

LOOK_S = 1.0
"""How often it is seen whether there is a job that came another way than through this server."""

PAUSE_S = 5.0
"""Before what failed is tried again; as often longer as it was tried."""

MOST_FAILURES = 10
"""How often a job is tried again that got no further for a reason that may pass."""

PATIENT = 10
"""How often a job is begun without getting on before that is taken to be its fault: from then on there are pauses."""

MOST_ATTEMPTS = 20
"""How often it is begun at all: one that takes the server down each time must not do so for ever."""

SWEEP_S = 60.0
ABANDONED_S = 24 * 3600.0
"""Age of a recording that never became a job: its upload was cut off by the end of the server."""

T = TypeVar("T")

PREFIX = "wren-job-"
"""Of the names of temporary files."""

Explain = Callable[[Exception], JobError]

_log = logging.getLogger(__name__)


class _Rebuilt(Exception):
    """Another build serves than the one that recognised the first windows."""


class _Taken(Exception):
    """The job was cancelled, or is another server's now."""


class Runner:
    """Runs jobs for as long as `run` is awaited; cancelled, it hands back what it has."""

    def __init__(
        self,
        engine: Engine,
        store: JobStore,
        *,
        parallel: int,
        keep_s: float,
        explain: Explain,
        observer: JobObserver,
        build: Callable[[Manifest], str],
    ) -> None:
        """Make one.

        Args:
            engine: what recognises.
            store: where jobs are.
            parallel: jobs at once.
            keep_s: how long a job that ended is remembered.
            explain: an exception to what a client is told of it.
            observer: told what becomes of jobs.
            build: what tells one build of a variant from another.
        """
        self._engine, self._store, self._parallel, self._keep_s = engine, store, parallel, keep_s
        self._explain, self._observer, self._build = explain, observer, build
        self._trouble = ""
        self._news = asyncio.Event()
        self._dropped: dict[str, asyncio.Event] = {}  # of the jobs that run here

    def look(self) -> None:
        """There is a new job."""
        self._news.set()

    def drop(self, job_id: str) -> None:
        """The job was cancelled, or removed."""
        if event := self._dropped.get(job_id):
            event.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        if await self._lasting(partial(self._store.open, patient=PATIENT)) and self._store.folder is not None:
            await asyncio.to_thread(_tidy, self._store.folder)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            for _ in range(self._parallel):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            owner = uuid.uuid4().hex
            job = await self._lasting(partial(self._claimed, owner))
            if job is None:
                await self._news_or(LOOK_S)
                continue
            await self._count()
            try:
                await self._run(job, owner)
            except JobsUnavailable as error:  # its lease will end, and somebody resumes it
                _log.warning("job %s was left: %s", job.id, error)
                await asyncio.sleep(PAUSE_S)
            await self._count()

    async def _claimed(self, owner: str) -> Job | None:
        return await self._store.claim(owner, now_s=time.time(), lease_s=LEASE_S)

    async def _run(self, job: Job, owner: str) -> None:
        began_s = time.monotonic()
        _log.info("job %s of %s begins at window %d", job.id, job.client or "nobody", job.done)
        dropped = self._dropped[job.id] = asyncio.Event()
        try:
            served = await unless(self._lost(job, owner, dropped), self._recognised(job, owner))
        except (Overtaken, _Taken):
            _log.info("job %s is not ours any more: it was cancelled, or another server has it", job.id)
        except asyncio.CancelledError:
            await asyncio.shield(self._store.hand_back(job.id, owner, due_s=0.0, counted=False))
            raise
        except JobsUnavailable:
            raise
        except Exception as error:
            await self._failed(job, owner, error)
        else:
            transcript = served.transcript
            done = await self._store.complete(
                job.id,
                owner,
                duration_s=transcript.duration_s,
                languages=transcript.languages,
                now_s=time.time(),
                keep_s=self._keep_s,
            )
            self._tell(done, "completed", f", {time.monotonic() - began_s:.1f} s after it last began")
        finally:
            del self._dropped[job.id]

    async def _recognised(self, job: Job, owner: str) -> Served:
        """All windows that were not done before, each kept."""
        if job.attempts > MOST_ATTEMPTS:
            raise RecognitionFailed(f"it was begun {MOST_ATTEMPTS} times and its server ended each time")
        chosen: list[Manifest] = []

        def choose(manifest: Manifest, _reason: str) -> None:
            if job.build is not None and self._build(manifest) != job.build:
                raise _Rebuilt
            chosen[:] = [manifest]

        async def keep(window: WindowDone) -> None:
            if job.windows not in (None, window.of):
                raise _Rebuilt  # it is cut otherwise now
            manifest, known = chosen[0], {"number": window.number, "of": window.of}
            built = {"variant": manifest.name, "build": self._build(manifest)}
            kept = await self._store.keep(job.id, owner, window.segments, window.languages, **known, **built)
            if not kept:
                raise _Taken
            self._observer.window_kept()

        with _file(self._store.folder) as file:
            async for chunk in self._store.read(job.id):
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(file.flush)
            brief = job.brief
            request = Request(
                Path(file.name),
                job.variant or brief.model,
                brief.options,
                brief.vad,
                brief.raw,
                client=job.client,
                priority="background",
                deadline_s=math.inf,
                precision=None if job.variant else brief.precision,
                on_chosen=choose,
                on_window=keep,
                resumption=Resumption(job.done, job.languages) if job.done else None,
            )
            return await self._engine.transcribe(request)

    async def _failed(self, job: Job, owner: str, error: Exception) -> None:
        """Begin anew, try again later, or give it up."""
        pause_s = PAUSE_S * job.attempts
        if isinstance(error, _Rebuilt) or (isinstance(error, ModelNotFound) and job.variant is not None):
            _log.warning("job %s begins anew: what recognised its first %d windows is gone", job.id, job.done)
            await self._store.begin_anew(job.id, owner)
        elif isinstance(error, Overloaded | NoRoom):
            pause_s = getattr(error, "retry_after_s", PAUSE_S)
            await self._store.hand_back(job.id, owner, due_s=time.time() + pause_s, counted=False)
        elif _may_pass(error) and job.attempts < MOST_FAILURES:
            _log.warning("job %s is tried again in %.0f s", job.id, pause_s, exc_info=error)
            await self._store.hand_back(job.id, owner, due_s=time.time() + pause_s, counted=True)
        else:
            if not isinstance(error, WrenError):
                _log.error("job %s failed", job.id, exc_info=error)
            told = self._explain(error)
            failed = await self._store.fail(job.id, owner, told, now_s=time.time(), keep_s=self._keep_s)
            self._tell(failed, "failed")

    async def _lost(self, job: Job, owner: str, dropped: asyncio.Event) -> None:
        """Hold the job; returns when it is not the owner's any more."""
        while not dropped.is_set():
            try:
                if not await self._store.renew(job.id, owner, until_s=time.time() + lease_s(job.attempts)):
                    return
            except JobsUnavailable as error:  # the lease may last until it can be written again
                _log.warning("job %s could not be held: %s", job.id, error)
            with suppress(TimeoutError):
                await asyncio.wait_for(dropped.wait(), RENEW_S)

    async def _sweep(self) -> None:
        while True:
            gone = await self._lasting(lambda: self._store.sweep(now_s=time.time(), abandoned_s=ABANDONED_S))
            if gone:
                _log.info("%d jobs are forgotten, for their time was over", gone)
            await self._count()
            await asyncio.sleep(SWEEP_S)

    async def _count(self) -> None:
        counts, _ = await self._lasting(self._store.waiting)
        self._observer.jobs_counted(queued=counts["queued"], running=counts["running"])

    def _tell(self, job: Job | None, end: End, when: str = "") -> None:
        if job is not None:  # else it was cancelled, or taken, at the last moment
            self._observer.job_ended(end, client=job.client, variant=job.variant, audio_s=job.duration_s)
            _log.info("job %s %s%s: %d windows by %s", job.id, end, when, job.done, job.variant)

    async def _news_or(self, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return
        self._news.clear()

    async def _lasting(self, work: Callable[[], Awaitable[T]]) -> T:
        """The outcome of the work, however long the database cannot be used."""
        while True:
            try:
                done = await work()
            except JobsUnavailable as error:
                _log.log(logging.DEBUG if self._trouble == str(error) else logging.WARNING, "%s", error)
                self._trouble = str(error)
                await asyncio.sleep(PAUSE_S)
            else:
                self._trouble = ""
                return done


def lease_s(attempts: int) -> float:
    """How long a job is left alone after its server was last heard of: longer, the more servers ended with it."""
    return LEASE_S * 2.0 ** max(0, attempts - PATIENT)


def _may_pass(error: Exception) -> bool:
    """Whether it may go well another time; what is wrong with a recording stays so."""
    return isinstance(error, ModelUnavailable) or not isinstance(error, WrenError)


def _tidy(folder: Path) -> None:
    """Delete the files of a server that was killed."""
    for left in folder.glob(f"{PREFIX}*"):
        left.unlink(missing_ok=True)


def _file(folder: Path | None) -> "IO[bytes]":
    """A temporary file beside the jobs: where temporary files are in memory, a long recording would fill it."""
    return NamedTemporaryFile(prefix=PREFIX, dir=folder)
