"""Jobs in PostgreSQL, for several servers. It needs the extra `postgres`."""

from collections.abc import Sequence

from service.errors import JobsUnavailable
from service.jobs.database import LOCK, PARAMETER, SCHEMA, Row, Statement

try:
    import psycopg
    from psycopg.rows import dict_row
except ImportError as error:
    raise JobsUnavailable("PostgreSQL needs another package: pip install 'wren-asr[postgres]'") from error

CONNECT_S = 5
STATEMENT_S = 30

SCHEMA_LOCK = 0x7772656E
"""Servers that start at once would make the same tables at once, which PostgreSQL does not forgive."""


class PostgresDatabase:
    """See `service.jobs.database.Database`."""

    folder = None

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Row] | None = None

    def alone(self) -> bool:
        return False  # who else there is cannot be known

    def transact(self, statements: Sequence[Statement]) -> list[list[Row]]:
        try:
            connection = self._connection = self._connection or self._connected()
            with connection.transaction():
                found = [connection.execute(_spoken(text), values) for text, values in statements]
                return [list(each) if each.description else [] for each in found]
        except psycopg.OperationalError as error:
            self.close()
            raise self._unavailable(error) from error
        except psycopg.Error as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> "psycopg.Connection[Row]":
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_S,
            options=f"-c statement_timeout={STATEMENT_S}s -c client_encoding=UTF8",
            row_factory=dict_row,
        )
        with connection.transaction():
            connection.execute(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
            for text in SCHEMA:
                connection.execute(text)
        return connection

    @staticmethod
    def _unavailable(error: "psycopg.Error") -> JobsUnavailable:
        lines = str(error).strip().splitlines()
        return JobsUnavailable(f"PostgreSQL cannot be used: {lines[0] if lines else type(error).__name__}")


def _spoken(text: str) -> bytes:
    """The statement as psycopg has it."""
    return PARAMETER.sub(r"%(\1)s", text).replace(LOCK, "FOR UPDATE SKIP LOCKED").encode()
