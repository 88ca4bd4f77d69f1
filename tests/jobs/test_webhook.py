"""The end of a job is told, signed, and told again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest

from service.jobs import webhook as webhooks
from service.jobs.sqlite import SqliteDatabase
from service.jobs.store import JobStore
from service.jobs.types import End, Job
from service.jobs.webhook import PAUSES_S, Webhooks, signature
from service.units import parse_signing_secret
from tests.jobs.keeping import new_job, present

pytestmark = pytest.mark.anyio

SECRET = parse_signing_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_a_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks libraries."""
    found = signature(
        SECRET,
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


class Receiver:
    """Answers with the statuses in turn, the last one for ever, and keeps what it was sent."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[tuple[dict[str, str], bytes]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:1/\r\n\r\n".encode())
        await writer.drain()
        writer.close()


class Told:
    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def job_ended(self, end: End, *, client: str, variant: str | None = None, audio_s: float | None = None) -> None: ...

    def window_kept(self) -> None: ...

    def jobs_counted(self, *, queued: int, running: int) -> None: ...

    def webhook_tried(self, outcome: Literal["delivered", "refused", "given_up"]) -> None:
        self.outcomes.append(outcome)


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[int]:
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def settled(store: JobStore, *, hosts: frozenset[str], url: str) -> tuple[Job, Told]:
    """A job that was cancelled, once its end was told or given up."""
    await store.add(new_job(url=url), b"recording", now_s=0.0)
    await store.cancel("job_one", now_s=1.0, keep_s=60.0)
    told = Told()
    told_by = Webhooks(store, secret=SECRET, hosts=hosts, body=lambda job: job.state.encode(), observer=told)
    running = asyncio.create_task(told_by.run())
    try:
        async with asyncio.timeout(10.0):
            while (job := present(await store.get("job_one"))).hook_state == "waiting":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    return job, told


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JobStore]:
    monkeypatch.setattr(webhooks, "LOOK_S", 0.01)
    monkeypatch.setattr(webhooks, "PAUSES_S", (0.01,) * 3)
    store = JobStore(SqliteDatabase(tmp_path))
    yield store
    await store.close()


async def test_an_end_is_told_with_a_signature(store: JobStore) -> None:
    receiver = Receiver(204)
    async with listening(receiver) as port:
        job, told = await settled(store, hosts=frozenset({"127.0.0.1"}), url=f"http://127.0.0.1:{port}/x")
    assert (job.hook_state, job.hook_attempts, told.outcomes) == ("delivered", 1, ["delivered"])
    ((headers, body),) = receiver.requests
    assert (body, headers["content-type"], headers["webhook-id"]) == (b"cancelled", "application/json", "msg_job_one")
    timestamp = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signature(SECRET, message_id="msg_job_one", timestamp=timestamp, body=body)


async def test_what_is_not_taken_is_told_again_under_the_same_id(store: JobStore) -> None:
    receiver = Receiver(500, 302, 200)
    async with listening(receiver) as port:
        job, told = await settled(store, hosts=frozenset({"127.0.0.1"}), url=f"http://127.0.0.1:{port}/x")
    assert (job.hook_state, job.hook_attempts) == ("delivered", 3)
    assert told.outcomes == ["refused", "refused", "delivered"]
    assert {headers["webhook-id"] for headers, _ in receiver.requests} == {"msg_job_one"}


async def test_it_is_given_up_in_the_end(store: JobStore) -> None:
    async with listening(Receiver(500)) as port:
        job, told = await settled(store, hosts=frozenset({"127.0.0.1"}), url=f"http://127.0.0.1:{port}/x")
    assert (job.hook_state, job.hook_attempts, told.outcomes[-1]) == ("given_up", 4, "given_up")


async def test_who_wants_no_more_is_left_alone(store: JobStore) -> None:
    receiver = Receiver(410)
    async with listening(receiver) as port:
        job, _ = await settled(store, hosts=frozenset({"127.0.0.1"}), url=f"http://127.0.0.1:{port}/x")
    assert (job.hook_state, len(receiver.requests)) == ("given_up", 1)


async def test_nobody_on_a_private_network_is_told(store: JobStore) -> None:
    receiver = Receiver(200)
    async with listening(receiver) as port:
        job, _ = await settled(store, hosts=frozenset(), url=f"http://127.0.0.1:{port}/x")
    assert (job.hook_state, receiver.requests) == ("given_up", [])


def test_it_is_tried_for_a_day() -> None:
    assert 20 * 3600 < sum(PAUSES_S) < 28 * 3600
