"""Jobs in a file of SQLite, for the servers of one machine."""

import fcntl
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from service.errors import JobsUnavailable
from service.jobs.database import SCHEMA, VERSION, Row, Statement

FILE = "jobs.sqlite"

BUSY_S = 20.0
"""How long another process may be writing."""

PRAGMAS = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # only heeded before there are tables
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # what was answered with 202 survives a loss of power
)


class SqliteDatabase:
    """See `service.jobs.database.Database`. Each server that uses the folder holds a shared lock on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection: sqlite3.Connection | None = None
        self._lock: IO[bytes] | None = None

    @property
    def folder(self) -> Path:
        return self._folder

    def alone(self) -> bool:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = self._lock = self._lock or (self._folder / ".lock").open("wb")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            finally:
                fcntl.flock(lock, fcntl.LOCK_SH)
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from error
        return True

    def transact(self, statements: Sequence[Statement]) -> list[list[Row]]:
        try:
            connection = self._connection = self._connection or self._connected()
            with connection:  # commits, or rolls back
                connection.execute("BEGIN IMMEDIATE")
                found = [connection.execute(text, values).fetchall() for text, values in statements]
            if any("DELETE" in text for text, _ in statements):
                connection.executescript("PRAGMA incremental_vacuum")  # `execute` would free a single page
        except (sqlite3.Error, OSError) as error:
            raise self._unavailable(str(error)) from error
        return [[dict(row) for row in rows] for rows in found]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _connected(self) -> sqlite3.Connection:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(self._folder / FILE, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        for pragma in PRAGMAS:
            connection.execute(pragma)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            connection.close()
            raise sqlite3.DatabaseError(f"a later Wren made it (schema {version}, this one knows {VERSION})")
        for text in SCHEMA:
            connection.execute(text)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        return connection

    def _unavailable(self, reason: str) -> JobsUnavailable:
        return JobsUnavailable(f"{self._folder / FILE} cannot be used: {reason}")
