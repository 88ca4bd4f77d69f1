"""Jobs are run, resumed, handed back and given up; over an engine that says given transcripts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from model_store.manifest import Manifest
from service.api.jobs import explained_failure
from service.engine.fake import FakeEngine, model_info
from service.engine.types import Resumption
from service.errors import ModelNotFound, ModelUnavailable, Overloaded, UndecodableAudio, WrenError
from service.jobs import runner as runners
from service.jobs.runner import LEASE_S, MOST_ATTEMPTS, MOST_FAILURES, PATIENT, Runner, lease_s
from service.jobs.sqlite import SqliteDatabase
from service.jobs.store import JobStore
from service.jobs.types import End, Job
from service.recognition.types import Transcript
from tests.jobs.keeping import ENGLISH, FIRST, SECOND, new_job, present, until

pytestmark = pytest.mark.anyio

THREE = Transcript("The quick brown fox. Café – 3 €. Over the lazy dog.", FIRST + SECOND, ENGLISH, 6.0)


@dataclass
class Told:
    """What the runner tells."""

    ends: list[tuple[End, str | None, float | None]] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)
    windows: int = 0

    def job_ended(self, end: End, *, client: str, variant: str | None = None, audio_s: float | None = None) -> None:
        self.ends.append((end, variant, audio_s))

    def window_kept(self) -> None:
        self.windows += 1

    def jobs_counted(self, *, queued: int, running: int) -> None:
        self.counts.append((queued, running))

    def webhook_tried(self, outcome: Literal["delivered", "refused", "given_up"]) -> None:
        raise AssertionError(outcome)


@dataclass
class Shop:
    """A store, and a runner at a time."""

    folder: Path
    store: JobStore
    told: Told = field(default_factory=Told)

    @asynccontextmanager
    async def running(
        self, engine: FakeEngine, *, build: Callable[[Manifest], str] = lambda _: "1"
    ) -> AsyncIterator[Runner]:
        runner = Runner(
            engine, self.store, parallel=1, keep_s=60.0, explain=explained_failure, observer=self.told, build=build
        )
        running = asyncio.create_task(runner.run())
        try:
            yield runner
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def until(self, wanted: Callable[[Job], bool]) -> Job:
        """The job, as soon as it is so."""
        async with asyncio.timeout(10.0):
            while not wanted(job := present(await self.store.get("job_one"))):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return job

    async def ended(self) -> Job:
        return await self.until(lambda job: job.ended_s is not None)


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr(runners, "PAUSE_S", 0.01)
    monkeypatch.setattr(runners, "LOOK_S", 0.01)
    store = JobStore(SqliteDatabase(tmp_path))
    await store.add(new_job(), b"recording", now_s=0.0)
    yield Shop(tmp_path, store)
    await store.close()


async def test_a_job_is_recognised_window_by_window(shop: Shop) -> None:
    engine = FakeEngine(THREE)
    async with shop.running(engine):
        job = await shop.ended()
    assert (job.state, job.done, job.windows, job.variant, job.build) == ("completed", 3, 3, "fake:fp32", "1")
    assert (job.duration_s, job.languages) == (6.0, ENGLISH)
    assert await shop.store.segments("job_one") == THREE.segments
    (asked,) = engine.requests
    assert (asked.client, asked.priority, asked.model, asked.raw) == ("a", "background", "auto", job.brief.raw)
    assert (asked.options, asked.vad, asked.resumption) == (job.brief.options, job.brief.vad, None)
    assert shop.told.ends == [("completed", "fake:fp32", 6.0)]
    assert (0, 1) in shop.told.counts
    assert shop.told.windows == 3
    assert shop.told.counts[-1] == (0, 0)


async def test_the_recording_lies_beside_the_jobs_for_as_long_as_it_is_needed(shop: Shop) -> None:
    gate = asyncio.Event()
    engine = FakeEngine(THREE, gate=gate)
    async with shop.running(engine):
        await until(lambda: engine.requests)
        audio = engine.requests[0].audio
        assert isinstance(audio, Path)
        assert (audio.parent, audio.read_bytes()) == (shop.folder, b"recording")
        gate.set()
        await shop.ended()
    assert not audio.exists()


async def test_what_a_killed_server_left_is_tidied_up(shop: Shop) -> None:
    left = shop.folder / f"{runners.PREFIX}left"
    left.write_bytes(b"recording")
    async with shop.running(FakeEngine(THREE)):
        await shop.ended()
    assert not left.exists()


async def test_what_is_stopped_is_resumed_behind_the_last_window(shop: Shop) -> None:
    async with shop.running(FakeEngine(THREE, error=RuntimeError("stop here"), fail_after=2)):  # type: ignore[arg-type]
        await shop.until(lambda job: job.done == 2)
    handed_back = present(await shop.store.get("job_one"))
    assert handed_back.state in ("queued", "running")
    engine = FakeEngine(THREE)
    async with shop.running(engine):
        assert (await shop.ended()).state == "completed"
    (asked,) = engine.requests
    assert asked.resumption == Resumption(2, ENGLISH)
    assert asked.model == "fake:fp32", "the windows go together"
    assert await shop.store.segments("job_one") == THREE.segments


async def test_a_server_that_stops_hands_back_and_the_attempt_does_not_count(shop: Shop) -> None:
    async with shop.running(FakeEngine(THREE, gate=asyncio.Event())):
        await shop.until(lambda job: job.state == "running")
    job = present(await shop.store.get("job_one"))
    assert (job.state, job.attempts) == ("queued", 0)


async def test_another_build_begins_anew(shop: Shop) -> None:
    await shop.store.claim("x", now_s=0.0, lease_s=0.0)
    await shop.store.keep("job_one", "x", FIRST, ENGLISH, number=0, of=3, variant="fake:fp32", build="old")
    engine = FakeEngine(THREE)
    async with shop.running(engine):
        job = await shop.ended()
    assert (job.state, job.build, job.done) == ("completed", "1", 3)
    assert [asked.model for asked in engine.requests] == ["fake:fp32", "auto"]
    assert engine.requests[1].resumption is None
    assert await shop.store.segments("job_one") == THREE.segments


async def test_what_is_cut_otherwise_begins_anew(shop: Shop) -> None:
    await shop.store.claim("x", now_s=0.0, lease_s=0.0)
    await shop.store.keep("job_one", "x", FIRST, ENGLISH, number=0, of=7, variant="fake:fp32", build="1")
    async with shop.running(FakeEngine(THREE)):
        job = await shop.ended()
    assert (job.windows, job.done) == (3, 3)


async def test_a_variant_that_was_removed_begins_anew_with_another(shop: Shop) -> None:
    class Removed(FakeEngine):
        def _variants(self, name: str) -> list:  # type: ignore[type-arg]
            if name == "gone:int8":
                raise ModelNotFound(name, ())
            return super()._variants(name)

    await shop.store.claim("x", now_s=0.0, lease_s=0.0)
    await shop.store.keep("job_one", "x", FIRST, ENGLISH, number=0, of=3, variant="gone:int8", build="1")
    async with shop.running(Removed(THREE)):
        assert (await shop.ended()).variant == "fake:fp32"


async def test_a_model_that_was_asked_for_and_is_not_there_fails(shop: Shop) -> None:
    async with shop.running(FakeEngine(THREE, infos=[model_info("other", "int8")], error=ModelNotFound("auto", ()))):
        job = await shop.ended()
    assert job.error is not None
    assert (job.state, job.error.code) == ("failed", "model_not_found")


async def test_a_recording_that_is_none_fails_at_once(shop: Shop) -> None:
    error = UndecodableAudio(container="none", codec="none", reason="noise")
    async with shop.running(FakeEngine(THREE, error=error)):
        job = await shop.ended()
    assert job.error is not None
    assert (job.state, job.attempts, job.error.code, job.error.param) == ("failed", 1, "undecodable_audio", "file")
    assert shop.told.ends == [("failed", None, None)]


class Recovering(FakeEngine):
    """Fails so often with the error, then goes well."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__(THREE)
        self.left, self.fault = times, error

    async def transcribe(self, request):  # type: ignore[no-untyped-def]
        if self.left:
            self.left -= 1
            self.requests.append(request)
            raise self.fault
        return await super().transcribe(request)


@pytest.mark.parametrize(
    "error",
    [Overloaded(retry_after_s=1), ModelUnavailable("fake", "no file"), OSError("no space")],
    ids=["overloaded", "unavailable", "odd"],
)
async def test_what_may_pass_is_tried_again(shop: Shop, error: Exception) -> None:
    engine = Recovering(error, 2)
    async with shop.running(engine):
        job = await shop.ended()
    assert (job.state, len(engine.requests)) == ("completed", 3)
    assert job.attempts == 0, "it got on"


@pytest.mark.parametrize("error", [ModelUnavailable("fake", "no file"), ZeroDivisionError("secret")])
async def test_what_never_passes_is_given_up(shop: Shop, error: WrenError) -> None:
    engine = FakeEngine(THREE, error=error)
    async with shop.running(engine):
        job = await shop.ended()
    assert job.error is not None
    assert (job.state, len(engine.requests)) == ("failed", MOST_FAILURES)
    assert "secret" not in job.error.message


async def test_a_job_that_takes_servers_down_is_given_up(shop: Shop) -> None:
    for _ in range(MOST_ATTEMPTS):
        assert await shop.store.claim("killed", now_s=1e6, lease_s=0.0)
    engine = FakeEngine(THREE)
    async with shop.running(engine):
        job = await shop.ended()
    assert job.error is not None
    assert (job.state, job.error.code, engine.requests) == ("failed", "recognition_failed", [])


def test_servers_that_end_with_a_job_get_longer_and_longer_pauses() -> None:
    assert {lease_s(attempts) for attempts in range(1, PATIENT + 1)} == {LEASE_S}
    assert lease_s(PATIENT + 1) == 2 * LEASE_S
    assert sum(map(lease_s, range(PATIENT, MOST_ATTEMPTS))) > 4 * 3600


async def test_after_many_attempts_a_new_server_waits_for_the_lease(shop: Shop) -> None:
    for _ in range(PATIENT + 1):
        await shop.store.claim("killed", now_s=1e12, lease_s=0.0)
    engine = FakeEngine(THREE)
    async with shop.running(engine):
        await asyncio.sleep(0.1)
    assert engine.requests == []


async def test_a_job_that_is_cancelled_is_dropped_at_once(shop: Shop) -> None:
    engine = FakeEngine(THREE, gate=asyncio.Event())
    async with shop.running(engine) as runner:
        await until(lambda: engine.requests)
        await shop.store.cancel("job_one", now_s=0.0, keep_s=60.0)
        runner.drop("job_one")
        await until(lambda: engine.dropped)
    assert present(await shop.store.get("job_one")).state == "cancelled"


async def test_a_job_that_another_server_took_is_let_go(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "RENEW_S", 0.02)
    engine = FakeEngine(THREE, gate=asyncio.Event())
    async with shop.running(engine):
        await until(lambda: engine.requests)
        await shop.store.claim("another", now_s=1e12, lease_s=60.0)
        await until(lambda: engine.dropped)
    job = present(await shop.store.get("job_one"))
    assert (job.state, job.attempts) == ("running", 2), "it is the other one's"
