"""What is kept of jobs, in SQLite and in PostgreSQL alike."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.errors import JobsUnavailable
from service.jobs import store as stores
from service.jobs.database import Row, Statement
from service.jobs.postgres import PostgresDatabase
from service.jobs.sqlite import FILE, SqliteDatabase
from service.jobs.store import JobStore
from service.jobs.types import JobError
from tests.jobs.keeping import BRIEF, ENGLISH, FIRST, SECOND, new_job, present

pytestmark = pytest.mark.anyio

KEPT = {"of": 2, "variant": "fake:int8", "build": "1"}


async def read(store: JobStore, job_id: str) -> bytes:
    return b"".join([chunk async for chunk in store.read(job_id)])


async def test_a_job_is_kept_as_it_was_handed_in(store: JobStore) -> None:
    added = present(await store.add(new_job(url="https://a.example/x"), b"recording", now_s=100.0))
    assert await store.get("job_one") == added
    assert (added.state, added.client, added.brief, added.created_s) == ("queued", "a", BRIEF, 100.0)
    assert (added.webhook_url, added.hook_state, added.done, added.languages) == ("https://a.example/x", "none", 0, ())
    assert await read(store, "job_one") == b"recording"
    assert await store.get("job_two") is None


async def test_a_recording_is_kept_in_pieces(store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "CHUNK_BYTES", 4)
    (tmp_path / "upload").write_bytes(b"recording")
    await store.add(new_job(), tmp_path / "upload", now_s=1.0)
    assert [chunk async for chunk in store.read("job_one")] == [b"reco", b"rdin", b"g"]


async def test_half_a_recording_is_not_kept(store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "CHUNK_BYTES", 4)
    transact, calls = store._database.transact, []

    def full(statements: Sequence[Statement]) -> list[list[Row]]:
        calls.append(statements)
        if len(calls) == 2:
            raise JobsUnavailable("the disk is full")
        return transact(statements)

    monkeypatch.setattr(store._database, "transact", full)
    with pytest.raises(JobsUnavailable, match="the disk is full"):
        await store.add(new_job(), b"recording", now_s=1.0)
    assert await read(store, "job_one") == b""


async def test_a_client_has_one_job_a_key(store: JobStore) -> None:
    assert await store.add(new_job("one", key="k"), b"recording", now_s=1.0)
    assert await store.add(new_job("two", key="k"), b"recording", now_s=2.0) is None
    assert await read(store, "job_two") == b""
    assert await store.add(new_job("three", key="k", client="b"), b"recording", now_s=3.0)
    assert await store.add(new_job("four"), b"recording", now_s=4.0)
    assert present(await store.of_key("a", "k")).id == "job_one"
    assert await store.of_key("c", "k") is None


async def test_jobs_are_listed_the_latest_first(store: JobStore) -> None:
    for number in range(5):
        await store.add(new_job(str(number), client="ab"[number % 2]), b"recording", now_s=float(number // 2))
    assert [job.id for job in await store.listed(None, limit=9)] == ["job_4", "job_3", "job_2", "job_1", "job_0"]
    first = await store.listed("a", limit=2)
    assert [job.id for job in first] == ["job_4", "job_2"]
    assert [job.id for job in await store.listed("a", after=first[-1], limit=2)] == ["job_0"]


async def test_the_oldest_is_taken_first_and_each_by_one(store: JobStore) -> None:
    await store.add(new_job("one"), b"recording", now_s=2.0)
    await store.add(new_job("two"), b"recording", now_s=1.0)
    taken = [await store.claim(owner, now_s=5.0, lease_s=10.0) for owner in ("x", "y", "z")]
    assert [job and job.id for job in taken] == ["job_two", "job_one", None]
    assert (present(taken[0]).state, present(taken[0]).attempts, present(taken[0]).started_s) == ("running", 1, 5.0)
    assert await store.waiting() == ({"queued": 0, "running": 2}, 18)


async def test_who_takes_over_is_heard_and_who_had_it_is_not(store: JobStore) -> None:
    await store.add(new_job(), b"recording", now_s=0.0)
    await store.claim("x", now_s=0.0, lease_s=10.0)
    assert await store.keep("job_one", "x", FIRST, ENGLISH, number=0, **KEPT)
    assert await store.claim("y", now_s=9.0, lease_s=10.0) is None
    assert await store.renew("job_one", "x", until_s=15.0)
    assert await store.claim("y", now_s=14.0, lease_s=10.0) is None
    resumed = present(await store.claim("y", now_s=16.0, lease_s=10.0))
    assert (resumed.done, resumed.windows, resumed.variant, resumed.languages) == (1, 2, "fake:int8", ENGLISH)
    assert not await store.renew("job_one", "x", until_s=99.0)
    assert not await store.keep("job_one", "x", FIRST, ENGLISH, number=1, **KEPT)
    assert await store.complete("job_one", "x", duration_s=6.0, languages=ENGLISH, now_s=17.0, keep_s=5.0) is None
    await store.hand_back("job_one", "x", due_s=0.0, counted=True)
    await store.begin_anew("job_one", "x")
    assert await store.keep("job_one", "y", SECOND, ENGLISH, number=1, **KEPT)
    assert await store.complete("job_one", "y", duration_s=6.0, languages=ENGLISH, now_s=17.0, keep_s=5.0)
    assert await store.segments("job_one") == FIRST + SECOND


async def test_what_is_completed_is_kept_for_a_while_and_its_recording_is_not(store: JobStore) -> None:
    await store.add(new_job(), b"recording", now_s=0.0)
    await store.claim("x", now_s=0.0, lease_s=10.0)
    await store.keep("job_one", "x", FIRST, ENGLISH, number=0, **KEPT)
    ended = present(await store.complete("job_one", "x", duration_s=2.0, languages=ENGLISH, now_s=3.0, keep_s=50.0))
    assert (ended.state, ended.ended_s, ended.expires_s, ended.duration_s) == ("completed", 3.0, 53.0, 2.0)
    assert await read(store, "job_one") == b""
    assert await store.sweep(now_s=52.0, abandoned_s=1e6) == 0
    assert await store.sweep(now_s=54.0, abandoned_s=1e6) == 1
    assert await store.get("job_one") is None
    assert await store.segments("job_one") == ()


async def test_why_it_failed_is_kept(store: JobStore) -> None:
    await store.add(new_job(), b"recording", now_s=0.0)
    await store.claim("x", now_s=0.0, lease_s=10.0)
    error = JobError("It is no audio.", "invalid_request_error", "file", "undecodable_audio")
    assert present(await store.fail("job_one", "x", error, now_s=1.0, keep_s=9.0)).error == error


async def test_what_is_cancelled_is_nobody_s(store: JobStore) -> None:
    await store.add(new_job(), b"recording", now_s=0.0)
    await store.claim("x", now_s=0.0, lease_s=10.0)
    assert present(await store.cancel("job_one", now_s=1.0, keep_s=9.0)).state == "cancelled"
    assert await store.cancel("job_one", now_s=2.0, keep_s=9.0) is None
    assert not await store.renew("job_one", "x", until_s=99.0)
    assert await store.claim("y", now_s=50.0, lease_s=1.0) is None
    assert await read(store, "job_one") == b""


async def test_what_is_handed_back_can_be_taken_when_it_is_due(store: JobStore) -> None:
    await store.add(new_job(), b"recording", now_s=0.0)
    await store.claim("x", now_s=0.0, lease_s=10.0)
    await store.keep("job_one", "x", FIRST, ENGLISH, number=0, **KEPT)
    await store.hand_back("job_one", "x", due_s=5.0, counted=False)
    assert await store.claim("y", now_s=4.0, lease_s=10.0) is None
    assert present(await store.claim("y", now_s=5.0, lease_s=10.0)).attempts == 0 + 1 - 1
    await store.hand_back("job_one", "y", due_s=5.0, counted=True)
    again = present(await store.claim("z", now_s=5.0, lease_s=10.0))
    await store.begin_anew("job_one", "z")
    anew = present(await store.get("job_one"))
    assert (again.done, anew.state, anew.done, anew.windows, anew.variant) == (1, "queued", 0, None, None)
    assert await store.segments("job_one") == ()


async def test_all_of_a_job_can_be_forgotten(store: JobStore) -> None:
    await store.add(new_job(), b"recording", now_s=0.0)
    await store.claim("x", now_s=0.0, lease_s=10.0)
    await store.keep("job_one", "x", FIRST, ENGLISH, number=0, **KEPT)
    assert await store.remove("job_one")
    assert not await store.remove("job_one")
    assert (await store.segments("job_one"), await read(store, "job_one")) == ((), b"")


async def test_an_end_is_told_once_and_again_if_it_was_not_taken(store: JobStore) -> None:
    await store.add(new_job(url="https://a.example"), b"recording", now_s=0.0)
    assert await store.due_hook(now_s=1.0, lease_s=10.0) is None
    await store.cancel("job_one", now_s=1.0, keep_s=0.5)
    assert present(await store.due_hook(now_s=2.0, lease_s=10.0)).hook_attempts == 1
    assert await store.due_hook(now_s=3.0, lease_s=10.0) is None
    await store.settle_hook("job_one", "waiting", due_s=5.0)
    assert present(await store.due_hook(now_s=6.0, lease_s=10.0)).hook_attempts == 2
    assert await store.sweep(now_s=7.0, abandoned_s=1e6) == 0, "nobody has been told yet"
    await store.settle_hook("job_one", "delivered")
    assert await store.due_hook(now_s=99.0, lease_s=10.0) is None
    assert await store.sweep(now_s=99.0, abandoned_s=1e6) == 1


async def test_a_recording_that_never_became_a_job_goes(store: JobStore) -> None:
    await store.add(new_job("one"), b"recording", now_s=0.0)
    text = "INSERT INTO chunks (job_id, number, created_s, content) VALUES ('job_cut_off', 0, :now, :chunk)"
    await store._rows(text, {"chunk": b"rec", "now": 5.0})
    await store.sweep(now_s=100.0, abandoned_s=96.0)
    assert await read(store, "job_cut_off") == b"rec"
    await store.sweep(now_s=200.0, abandoned_s=96.0)
    assert (await read(store, "job_cut_off"), await read(store, "job_one")) == (b"", b"recording")


async def test_two_servers_never_take_the_same(store: JobStore, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    is_sqlite = store.folder is not None
    second = (
        SqliteDatabase(tmp_path / "jobs") if is_sqlite else PostgresDatabase(request.getfixturevalue("postgres_url"))
    )
    other = JobStore(second)
    await other.open(patient=10)
    for number in range(20):
        await store.add(new_job(str(number)), b"recording", now_s=1.0)

    async def take(whose: JobStore, owner: str) -> list[str]:
        taken = []
        while job := await whose.claim(owner, now_s=2.0, lease_s=60.0):
            taken.append(job.id)
        return taken

    mine, others = await asyncio.gather(take(store, "x"), take(other, "y"))
    await other.close()
    assert sorted(mine + others) == sorted(f"job_{number}" for number in range(20))


async def test_what_the_last_server_left_is_free_once_it_is_gone(tmp_path: Path) -> None:
    first, second = JobStore(SqliteDatabase(tmp_path)), JobStore(SqliteDatabase(tmp_path))
    await first.open(patient=10)
    await first.add(new_job(), b"recording", now_s=0.0)
    await first.claim("x", now_s=0.0, lease_s=1e6)
    await second.open(patient=10)
    assert await second.claim("y", now_s=1.0, lease_s=1.0) is None, "the first one is still there"
    await second.close()
    await first.close()  # as the system does for a server that was killed
    third = JobStore(SqliteDatabase(tmp_path))
    await third.open(patient=10)
    assert await third.claim("z", now_s=1.0, lease_s=1.0)
    await third.close()


async def test_a_file_gets_smaller_as_jobs_go(tmp_path: Path) -> None:
    store = JobStore(SqliteDatabase(tmp_path))
    await store.add(new_job(), bytes(20 * 2**20), now_s=0.0)
    await store.remove("job_one")
    await store.close()
    assert (tmp_path / FILE).stat().st_size < 2**20


async def test_a_later_schema_is_left_alone(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path)
    database.transact([("PRAGMA user_version = 99", {})])
    database.close()
    with pytest.raises(JobsUnavailable, match="a later Wren made it"):
        database.transact([("SELECT 1", {})])


async def test_where_nothing_can_be_written_there_are_no_jobs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = JobStore(SqliteDatabase(tmp_path / "file" / "jobs"))
    with pytest.raises(JobsUnavailable, match="cannot be used"):
        await store.open(patient=10)
    await store.close()


async def test_a_database_that_is_away_is_said_to_be_without_its_password() -> None:
    store = JobStore(PostgresDatabase("postgresql://wren:hush@127.0.0.1:1/none"))
    with pytest.raises(JobsUnavailable, match="PostgreSQL cannot be used") as refused:
        await store.open(patient=10)
    await store.close()
    assert "hush" not in str(refused.value)


async def test_a_lost_connection_is_made_again(postgres_url: str) -> None:
    database = PostgresDatabase(postgres_url)
    store = JobStore(database)
    await store.open(patient=10)
    assert database._connection is not None
    database._connection.close()
    with pytest.raises(JobsUnavailable):
        await store.get("job_one")
    assert await store.get("job_one") is None
    await store.close()
