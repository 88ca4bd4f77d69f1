"""The seam to where jobs are kept: statements in, rows out. SQLite for one machine, PostgreSQL for several servers.

Both take the same statements: SQL that both know, with values as `:name`. `LOCK` stands where PostgreSQL has to be told
to pass over rows that another server is just taking; SQLite lets one write at a time.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

Value = str | bytes | int | float | None
Row = Mapping[str, Value]
Statement = tuple[str, Mapping[str, Value]]

LOCK = "/* lock */"

PARAMETER = re.compile(r":([a-z_]+)")

SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS jobs (
        id TEXT PRIMARY KEY, client TEXT NOT NULL, state TEXT NOT NULL, brief TEXT NOT NULL,
        response_format TEXT NOT NULL, digest TEXT NOT NULL, idempotency_key TEXT, bytes BIGINT NOT NULL,
        created_s DOUBLE PRECISION NOT NULL, started_s DOUBLE PRECISION, ended_s DOUBLE PRECISION,
        expires_s DOUBLE PRECISION, variant TEXT, build TEXT, windows INTEGER, done INTEGER NOT NULL DEFAULT 0,
        duration_s DOUBLE PRECISION, languages TEXT, attempts INTEGER NOT NULL DEFAULT 0, error TEXT,
        owner TEXT, due_s DOUBLE PRECISION NOT NULL,
        webhook_url TEXT, hook_state TEXT NOT NULL DEFAULT 'none', hook_attempts INTEGER NOT NULL DEFAULT 0,
        hook_due_s DOUBLE PRECISION, UNIQUE (client, idempotency_key)
    )
    """,
    "CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, due_s)",
    "CREATE INDEX IF NOT EXISTS jobs_by_client ON jobs (client, created_s)",
    "CREATE INDEX IF NOT EXISTS jobs_by_hook ON jobs (hook_state, hook_due_s)",
    """
    CREATE TABLE IF NOT EXISTS chunks (
        job_id TEXT NOT NULL, number INTEGER NOT NULL, created_s DOUBLE PRECISION NOT NULL, content BYTEA NOT NULL,
        PRIMARY KEY (job_id, number)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS windows (
        job_id TEXT NOT NULL, number INTEGER NOT NULL, segments TEXT NOT NULL, PRIMARY KEY (job_id, number)
    )
    """,
)
"""`chunks` are the recordings in pieces, `windows` what was recognised; both go with their job, or before it.

The content of a chunk comes last: to find what stands behind it SQLite would read all of it.
"""

VERSION = 1
"""Of the schema, as a file of SQLite remembers it: an older Wren leaves a later one's alone."""


class Database(Protocol):
    """Used by one thread at a time. It connects when it is first used, and again when the connection was lost."""

    @property
    def folder(self) -> Path | None:
        """Where recordings may lie while they are recognised; None for the system's place for temporary files."""
        ...

    def alone(self) -> bool:
        """Whether no other server uses it: what the last one left running is then free to be taken."""
        ...

    def transact(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of each statement; all take effect, or none.

        Raises:
            JobsUnavailable: it cannot be reached, or does not take them.
        """
        ...

    def close(self) -> None: ...
