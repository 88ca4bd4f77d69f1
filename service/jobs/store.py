"""What becomes of jobs, kept so that it outlives the server: nothing is answered before it is written.

A server that runs a job holds a lease on it and renews it. Whoever else finds the lease over takes the job, and what
the first one then still says of it is not heard: each of its statements asks whether the job is still its own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import from_json

from service.errors import JobsUnavailable
from service.jobs.database import LOCK, Database, Row, Statement, Value
from service.jobs.types import Brief, HookState, Job, JobError, NewJob, State
from service.recognition.types import Language, Segment

T = TypeVar("T")

CHUNK_BYTES = 4 * 2**20

_JOB = TypeAdapter(Job)
_BRIEF = TypeAdapter(Brief)
_ERROR = TypeAdapter(JobError)
_LANGUAGES = TypeAdapter(tuple[Language, ...])
_SEGMENTS = TypeAdapter(
    tuple[Segment, ...],
    config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"),
)

_MINE = "id = :id AND owner = :owner AND state = 'running'"

_ADD = """
    INSERT INTO jobs (id, client, state, brief, response_format, digest, idempotency_key, bytes, created_s, due_s,
        webhook_url)
    VALUES (:id, :client, 'queued', :brief, :response_format, :digest, :key, :bytes, :now, :now, :webhook_url)
    ON CONFLICT (client, idempotency_key) DO NOTHING RETURNING *
"""

_CLAIM = f"""
    UPDATE jobs SET state = 'running', owner = :owner, due_s = :until, attempts = attempts + 1,
        started_s = COALESCE(started_s, :now)
    WHERE id = (
        SELECT id FROM jobs WHERE state IN ('queued', 'running') AND due_s <= :now ORDER BY created_s, id LIMIT 1 {LOCK}
    ) RETURNING *
"""
"""`due_s` is when it may be taken: of one that waits at once or after a pause, of one that runs when its lease ends."""

_KEEP = f"""
    UPDATE jobs SET done = :number + 1, windows = :of, variant = :variant, build = :build, languages = :languages,
        attempts = 0 WHERE {_MINE} RETURNING id
"""

_KEEP_WINDOW = f"""
    INSERT INTO windows (job_id, number, segments) SELECT id, :number, :segments FROM jobs WHERE {_MINE}
    ON CONFLICT DO NOTHING
"""

_END = """
    UPDATE jobs SET state = :state, ended_s = :now, expires_s = :expires, owner = NULL, error = :error,
        duration_s = :duration_s, languages = COALESCE(:languages, languages),
        hook_state = CASE WHEN webhook_url IS NULL THEN 'none' ELSE 'waiting' END, hook_due_s = :now
"""

_NO_AUDIO = "DELETE FROM chunks WHERE job_id IN (SELECT id FROM jobs WHERE id = :id AND ended_s IS NOT NULL)"

_WRITE = "INSERT INTO chunks (job_id, number, created_s, content) VALUES (:id, :number, :now, :chunk)"

_NO_CHUNKS = "DELETE FROM chunks WHERE job_id = :id"

_HOOK = f"""
    UPDATE jobs SET hook_due_s = :until, hook_attempts = hook_attempts + 1
    WHERE id = (
        SELECT id FROM jobs WHERE hook_state = 'waiting' AND hook_due_s <= :now ORDER BY hook_due_s LIMIT 1 {LOCK}
    ) RETURNING *
"""


class JobStore:
    """The database works in a thread of its own, so that it never stops the event loop.

    Every method raises JobsUnavailable where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wren-jobs")

    @property
    def folder(self) -> Path | None:
        """Where recordings may lie while they are recognised."""
        return self._database.folder

    async def open(self, *, patient: int) -> bool:
        """See that it can be used; whether no other server does.

        Then what the last one left running is free at once, but for jobs that were begun more often than that.
        """
        alone = await self._run(self._database.alone)
        if alone:
            text = "UPDATE jobs SET due_s = 0 WHERE state = 'running' AND attempts <= :patient"
            await self._rows(text, {"patient": patient})
        else:
            await self._rows("SELECT id FROM jobs LIMIT 1")
        return alone

    async def close(self) -> None:
        await self._run(self._database.close)
        self._thread.shutdown()

    async def add(self, job: NewJob, audio: bytes | Path, *, now_s: float) -> Job | None:
        """Accept a job; its recording is written first. None if the client has one under the same key already."""
        try:
            await self._write(job.id, audio, now_s=now_s)
        except BaseException:  # the disk is full, or the server stops
            with suppress(JobsUnavailable):
                await asyncio.shield(self._rows(_NO_CHUNKS, {"id": job.id}))
            raise
        values: dict[str, Value] = {
            "id": job.id,
            "client": job.client,
            "brief": _BRIEF.dump_json(job.brief).decode(),
            "response_format": job.response_format,
            "digest": job.digest,
            "key": job.key,
            "bytes": job.size_bytes,
            "now": now_s,
            "webhook_url": job.webhook_url,
        }
        rows = await self._rows(_ADD, values)
        if not rows:
            await self._rows(_NO_CHUNKS, {"id": job.id})
        return _one(rows)

    async def _write(self, job_id: str, audio: bytes | Path, *, now_s: float) -> None:
        with closing(BytesIO(audio) if isinstance(audio, bytes) else audio.open("rb")) as file:
            number = 0
            while chunk := await self._run(lambda: file.read(CHUNK_BYTES)):
                values: dict[str, Value] = {"id": job_id, "number": number, "now": now_s, "chunk": chunk}
                await self._rows(_WRITE, values)
                number += 1

    async def get(self, job_id: str) -> Job | None:
        return _one(await self._rows("SELECT * FROM jobs WHERE id = :id", {"id": job_id}))

    async def of_key(self, client: str, key: str) -> Job | None:
        """The job that the client has under an Idempotency-Key."""
        text = "SELECT * FROM jobs WHERE client = :client AND idempotency_key = :key"
        return _one(await self._rows(text, {"client": client, "key": key}))

    async def listed(self, client: str | None, *, after: Job | None = None, limit: int) -> list[Job]:
        """The latest jobs of a client, of all clients for None, those behind another one."""
        whose = "" if client is None else "client = :client AND "
        text = f"""
            SELECT * FROM jobs WHERE {whose} (created_s, id) < (:created, :id) ORDER BY created_s DESC, id DESC
            LIMIT :limit
        """
        behind = (after.created_s, after.id) if after else (1e18, "")
        values: dict[str, Value] = {"client": client, "created": behind[0], "id": behind[1], "limit": limit}
        if client is None:
            del values["client"]
        return [_job(row) for row in await self._rows(text, values)]

    async def waiting(self) -> tuple[dict[str, int], int]:
        """How many jobs are queued and running, and the bytes of their recordings."""
        text = """
            SELECT state, COUNT(*) AS jobs, SUM(bytes) AS bytes FROM jobs WHERE state IN ('queued', 'running')
            GROUP BY state
        """
        rows = await self._rows(text)
        counts = {str(row["state"]): int(row["jobs"] or 0) for row in rows}
        return {"queued": 0, "running": 0} | counts, sum(int(row["bytes"] or 0) for row in rows)

    async def claim(self, owner: str, *, now_s: float, lease_s: float) -> Job | None:
        """Take the oldest job that nobody runs, if there is one."""
        return _one(await self._rows(_CLAIM, {"owner": owner, "now": now_s, "until": now_s + lease_s}))

    async def renew(self, job_id: str, owner: str, *, until_s: float) -> bool:
        """Hold it for longer; whether it is still the owner's."""
        text = f"UPDATE jobs SET due_s = :until WHERE {_MINE} RETURNING id"
        return bool(await self._rows(text, {"id": job_id, "owner": owner, "until": until_s}))

    async def read(self, job_id: str) -> AsyncIterator[bytes]:
        """Its recording, in pieces."""
        text, number = "SELECT content FROM chunks WHERE job_id = :id AND number = :number", 0
        while rows := await self._rows(text, {"id": job_id, "number": number}):
            yield bytes(rows[0]["content"])  # type: ignore[arg-type]  # the column has nothing else
            number += 1

    async def keep(
        self,
        job_id: str,
        owner: str,
        segments: tuple[Segment, ...],
        languages: tuple[Language, ...],
        **values: Value,
    ) -> bool:
        """Keep a window with its `number`, `of`, `variant` and `build`; whether the job is still the owner's."""
        known = {"id": job_id, "owner": owner, "number": values["number"]}
        written = {**known, **values, "languages": _LANGUAGES.dump_json(languages).decode()}
        window = {**known, "segments": _SEGMENTS.dump_json(segments).decode()}
        kept, _ = await self._transact((_KEEP, written), (_KEEP_WINDOW, window))
        return bool(kept)

    async def segments(self, job_id: str) -> tuple[Segment, ...]:
        """What was recognised of it by now."""
        text = "SELECT segments FROM windows WHERE job_id = :id ORDER BY number"
        rows = await self._rows(text, {"id": job_id})
        return await self._run(lambda: tuple(one for row in rows for one in _SEGMENTS.validate_json(_text(row))))

    async def begin_anew(self, job_id: str, owner: str) -> None:
        """Forget what was recognised of it; it waits for its turn again."""
        values = {"id": job_id, "owner": owner}
        forget = f"DELETE FROM windows WHERE job_id IN (SELECT id FROM jobs WHERE {_MINE})"
        text = f"""
            UPDATE jobs SET state = 'queued', owner = NULL, due_s = 0, variant = NULL, build = NULL, windows = NULL,
                done = 0, languages = NULL WHERE {_MINE}
        """
        await self._transact((forget, values), (text, values))

    async def hand_back(self, job_id: str, owner: str, *, due_s: float, counted: bool) -> None:
        """Let others take it from then on; what was recognised stays. Whether this attempt counts is said."""
        text = f"""
            UPDATE jobs SET state = 'queued', owner = NULL, due_s = :due, attempts = attempts - :forgiven WHERE {_MINE}
        """
        await self._rows(text, {"id": job_id, "owner": owner, "due": due_s, "forgiven": 0 if counted else 1})

    async def complete(
        self,
        job_id: str,
        owner: str,
        *,
        duration_s: float,
        languages: tuple[Language, ...],
        now_s: float,
        keep_s: float,
    ) -> Job | None:
        """All of it is recognised. None if it is not the owner's any more."""
        found = _LANGUAGES.dump_json(languages).decode()
        values = _ended("completed", now_s, keep_s) | {"duration_s": duration_s, "languages": found}
        return await self._end(job_id, _MINE, values | {"owner": owner})

    async def fail(self, job_id: str, owner: str, error: JobError, *, now_s: float, keep_s: float) -> Job | None:
        """It cannot be recognised. None if it is not the owner's any more."""
        values = _ended("failed", now_s, keep_s) | {"error": _ERROR.dump_json(error).decode()}
        return await self._end(job_id, _MINE, values | {"owner": owner})

    async def cancel(self, job_id: str, *, now_s: float, keep_s: float) -> Job | None:
        """Nobody wants it any more, whoever runs it. None if it had ended before."""
        return await self._end(job_id, "id = :id AND ended_s IS NULL", _ended("cancelled", now_s, keep_s))

    async def remove(self, job_id: str) -> bool:
        """Forget all of it, whatever its state; whether it was there."""
        return bool(await self._remove("id = :id", {"id": job_id}))

    async def sweep(self, *, now_s: float, abandoned_s: float) -> int:
        """Forget jobs whose time is over, and recordings that never became one; how many jobs."""
        text = "DELETE FROM chunks WHERE created_s < :before AND job_id NOT IN (SELECT id FROM jobs)"
        await self._rows(text, {"before": now_s - abandoned_s})
        return len(await self._remove("expires_s < :now AND hook_state <> 'waiting'", {"now": now_s}))

    async def due_hook(self, *, now_s: float, lease_s: float) -> Job | None:
        """A job whose end is yet to be told, for `lease_s` to nobody else."""
        return _one(await self._rows(_HOOK, {"now": now_s, "until": now_s + lease_s}))

    async def settle_hook(self, job_id: str, state: HookState, *, due_s: float = 0.0) -> None:
        """How telling its end went, and when to try again if it is still waiting."""
        text = "UPDATE jobs SET hook_state = :state, hook_due_s = :due WHERE id = :id"
        await self._rows(text, {"id": job_id, "state": state, "due": due_s})

    async def _end(self, job_id: str, whose: str, values: Mapping[str, Value]) -> Job | None:
        known = {"id": job_id}
        ended, _ = await self._transact((f"{_END} WHERE {whose} RETURNING *", {**known, **values}), (_NO_AUDIO, known))
        return _one(ended)

    async def _remove(self, which: str, values: Mapping[str, Value]) -> list[Row]:
        jobs = f"(SELECT id FROM jobs WHERE {which})"
        *_, removed = await self._transact(
            (f"DELETE FROM chunks WHERE job_id IN {jobs}", values),
            (f"DELETE FROM windows WHERE job_id IN {jobs}", values),
            (f"DELETE FROM jobs WHERE {which} RETURNING id", values),
        )
        return removed

    async def _rows(self, text: str, values: Mapping[str, Value] | None = None) -> list[Row]:
        (rows,) = await self._transact((text, values or {}))
        return rows

    async def _transact(self, *statements: Statement) -> list[list[Row]]:
        return await self._run(lambda: self._database.transact(statements))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _ended(state: State, now_s: float, keep_s: float) -> dict[str, Value]:
    """What the statement that ends a job has to be given."""
    known = {"state": state, "now": now_s, "expires": now_s + keep_s}
    return known | {"error": None, "duration_s": None, "languages": None}


def _one(rows: Iterable[Row]) -> Job | None:
    return next(map(_job, rows), None)


def _job(row: Row) -> Job:
    """A row of the table, whose columns are named like the fields."""
    parsed = {name: from_json(str(row[name])) for name in ("brief", "error", "languages") if row[name]}
    return _JOB.validate_python({**row, "languages": (), **parsed})


def _text(row: Row) -> str:
    return str(row["segments"])
