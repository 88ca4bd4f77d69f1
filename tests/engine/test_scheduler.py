"""The scheduler over a backend whose rows say given lines: who is computed when, and what a fault does to whom."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal

import numpy as np
import pytest

from service.audio.types import SAMPLE_RATE, Piece, Window
from service.backends.base import EncoderBatch
from service.backends.fake import FakeBackend, Line
from service.engine.fake import model_info
from service.engine.forming import EncodeCosts, Point
from service.engine.profile import Hosted, Profile
from service.engine.scheduler import Scheduler
from service.engine.types import Priority
from service.engine.work import Ticket
from service.errors import ModelUnavailable, RecognitionFailed
from service.recognition.recognizer import Heed, Recognizer
from service.recognition.types import Language, Options
from tests.recognition.models import whisper

pytestmark = pytest.mark.anyio

HEED = Heed((Language("en", 1.0),))
END = 50_256
APART = EncodeCosts((Point(1, 500, 10.0), Point(8, 500, 80.0)))
TOGETHER = EncodeCosts((Point(1, 500, 10.0), Point(8, 500, 12.0)))


@dataclass
class Watched:
    """What an observer was told."""

    encodes: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    failures: int = 0
    restarts: list[str] = field(default_factory=list)

    def encoded(self, *, rows: int, seconds: float) -> None:
        self.encodes.append(rows)

    def stepped(self, *, rows: int, seconds: float) -> None:
        self.steps.append(rows)

    def rejected(self, reason: Literal["queue", "deadline"]) -> None: ...

    def expired(self) -> None: ...

    def cancelled(self) -> None: ...

    def failed(self) -> None:
        self.failures += 1

    def restarted(self, reason: Literal["stuck", "crashed"]) -> None:
        self.restarts.append(reason)


def line(index: int, *, tokens: int = 6) -> Line:
    """Tokens that may be said, others for each line."""
    sayable = np.flatnonzero(np.isfinite(whisper().mask[3000:]))[100 * index :]
    return Line(tuple(3000 + int(token) for token in sayable[:tokens]))


def says(index: int, *, tokens: int = 6) -> str:
    return b"".join(whisper().tokenizer.pieces(line(index, tokens=tokens).tokens)).decode(errors="replace").strip()


def window(index: int) -> Window:
    """Windows are told apart by their length: the encoder has one position more for each."""
    samples = np.zeros(SAMPLE_RATE + index * 320, np.float32)
    return Window(samples, (Piece(0, 0, len(samples)),))


def index_of(batch: EncoderBatch) -> int:
    shortest = whisper().features(window(0).samples, full=False)
    return int(np.argmax(np.diff(batch.positions[0], append=-1) != 1)) - int(
        np.argmax(np.diff(shortest.positions, append=-1) != 1)
    )


@dataclass
class Stage:
    """A scheduler, what it runs on and what was seen."""

    scheduler: Scheduler
    hosted: Hosted
    backend: FakeBackend
    watched: Watched
    renewed: list[Hosted]
    tickets: "count[int]" = field(default_factory=count)

    def ticket(self, client: str = "one", *, priority: Priority = "interactive", due_s: float | None = None) -> Ticket:
        return Ticket(client, priority, float(next(self.tickets)) if due_s is None else due_s)

    async def queued(self, count: int) -> None:
        """Wait until so many windows wait for their turn."""
        await eventually(lambda: self.scheduler.waiting == count)

    async def taken(self) -> None:
        """Wait until the first window is being encoded."""
        await eventually(lambda: len(self.backend.batches) == 1)

    async def gated(self, count: int) -> list[asyncio.Task[str]]:
        """So many windows: one behind the gate, the others in the queue."""
        tasks = [asyncio.create_task(self.text(0))]
        await self.taken()
        tasks += [asyncio.create_task(self.text(index)) for index in range(1, count)]
        await self.queued(count - 1)
        return tasks

    async def text(self, index: int, ticket: Ticket | None = None, *, cost_s: float = 1.0) -> str:
        segments = await self.scheduler.compute(
            self.hosted,
            lambda one: one.transcribe(window(index), Options(language="en", temperatures=(0.0,)), HEED),
            ticket=ticket or self.ticket(),
            cost_s=cost_s,
        )
        return "".join(segment.text for segment in segments).strip()


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for happens in other threads
            await asyncio.sleep(0.001)


@asynccontextmanager
async def stage(
    lines: Sequence[Line],
    *,
    rows: int = 4,
    executors: int = 1,
    gate: threading.Event | None = None,
    encoder_rows: int = 1,
    fits: tuple[int, int] = (1000, 1000),
    costs: EncodeCosts = APART,
    stuck_s: float = 60.0,
    renewal: Exception | None = None,
) -> AsyncIterator[Stage]:
    backend = FakeBackend(
        lines, vocabulary=51_864, end_token=END, chosen=index_of, gate=gate, encoder_rows=encoder_rows,
        encoder_fits=fits[0], decoder_fits=fits[1],
    )  # fmt: skip
    profile = Profile(costs, rows, "given", 10.0)
    manifest = model_info("fake", "fp32").manifest
    hosted = Hosted(manifest, Recognizer(backend, whisper()), profile)
    watched, renewed = Watched(), list[Hosted]()

    async def renew(lost: Hosted) -> Hosted:
        if renewal is not None:
            raise renewal
        fresh = FakeBackend(lines, vocabulary=51_864, end_token=END, chosen=index_of)
        renewed.append(replace(lost, recognizer=Recognizer(fresh, whisper())))
        return renewed[-1]

    with ThreadPoolExecutor(1) as pool:
        scheduler = Scheduler(pool.submit, watched, renew=renew, stuck_s=stuck_s)
        scheduler.start(executors)
        try:
            yield Stage(scheduler, hosted, backend, watched, renewed)
        finally:
            if gate is not None:
                gate.set()
            await scheduler.close()


@pytest.mark.parametrize("executors", [1, 3])
async def test_each_window_gets_its_own_text(executors: int) -> None:
    lines = [line(index, tokens=2 + 3 * index) for index in range(12)]
    async with stage(lines, executors=executors) as at:
        found = await asyncio.gather(*(at.text(index) for index in range(12)))
    assert found == [says(index, tokens=2 + 3 * index) for index in range(12)]


async def test_rows_of_different_requests_share_steps_and_leave_as_they_end() -> None:
    lines = [line(0, tokens=20), line(1, tokens=3), line(2, tokens=3), line(3, tokens=3)]
    gate = threading.Event()
    async with stage(lines, gate=gate, rows=2) as at:
        tasks = await at.gated(4)
        gate.set()
        await asyncio.gather(*tasks)
        assert max(at.backend.steps) == 2
        # The long one needs 21 steps and its prompt; the three short ones, four each, run beside it, one after another.
        shared = sum(rows == 2 for rows in at.backend.steps)
        assert shared >= 9
        assert len(at.backend.steps) <= 21 + 4 + 3


async def test_one_encoding_at_most_between_two_steps() -> None:
    gate = threading.Event()
    async with stage([line(index, tokens=8) for index in range(8)], gate=gate, rows=8) as at:
        tasks = await at.gated(8)
        gate.set()
        await asyncio.gather(*tasks)
        assert at.watched.encodes == [1] * 8
        # A prompt, a step of all, the next prompt: the batch grows by one row a step.
        assert at.backend.steps[:6] == [1, 1, 1, 2, 1, 3]


async def test_windows_are_encoded_together_where_that_is_cheaper() -> None:
    gate = threading.Event()
    async with stage([line(i) for i in range(7)], gate=gate, rows=8, encoder_rows=4, costs=TOGETHER) as at:
        tasks = await at.gated(7)
        gate.set()
        assert await asyncio.gather(*tasks) == [says(index) for index in range(7)]
        assert max(at.watched.encodes) == 4
        assert sum(at.watched.encodes) == 7


async def test_who_is_due_first_goes_first() -> None:
    gate = threading.Event()
    async with stage([line(i) for i in range(5)], gate=gate, rows=1) as at:
        ended: list[int] = []

        async def ask(index: int, due_s: float) -> None:
            await at.text(index, at.ticket(due_s=due_s))
            ended.append(index)

        blocking = asyncio.create_task(ask(0, 0.0))
        await at.taken()
        tasks = [asyncio.create_task(ask(index, due_s)) for index, due_s in [(1, 9.0), (2, 7.0), (3, 8.0), (4, 1.0)]]
        await at.queued(4)
        gate.set()
        await asyncio.gather(blocking, *tasks)
    assert ended == [0, 4, 2, 3, 1]


async def test_a_flood_of_one_client_does_not_delay_another() -> None:
    gate = threading.Event()
    async with stage([line(i) for i in range(22)], gate=gate, rows=1) as at:
        ended: list[str] = []

        async def ask(index: int, client: str) -> None:
            await at.text(index, at.ticket(client))
            ended.append(client)

        flood = [asyncio.create_task(ask(0, "flood"))]
        await at.taken()
        flood += [asyncio.create_task(ask(index, "flood")) for index in range(1, 20)]
        await at.queued(19)
        other = [asyncio.create_task(ask(index, "other")) for index in (20, 21)]
        await at.queued(21)
        gate.set()
        await asyncio.gather(*flood, *other)
    assert "other" in ended[:3]
    assert ended[:6].count("other") == 2


async def test_a_request_that_is_dropped_leaves_the_queue_and_its_batch_mates_intact() -> None:
    gate = threading.Event()
    async with stage([line(i, tokens=12) for i in range(6)], gate=gate) as at:
        tickets = [at.ticket() for _ in range(6)]
        first = asyncio.create_task(at.text(0, tickets[0]))
        await at.taken()
        tasks = [first, *(asyncio.create_task(at.text(index, tickets[index])) for index in range(1, 6))]
        await at.queued(5)
        assert at.scheduler.waiting == 5
        for index in (1, 3):
            at.scheduler.drop(tickets[index])
            tasks[index].cancel()
        assert at.scheduler.waiting == 3
        gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [one for one in found if isinstance(one, str)] == [says(i, tokens=12) for i in (0, 2, 4, 5)]
        assert len(at.backend.batches) == 4


class Gates(threading.Event):
    """The second encoding waits for another event than the first."""

    def __init__(self) -> None:
        super().__init__()
        self.second = threading.Event()
        self._waits = iter([super().wait, self.second.wait])

    def wait(self, timeout: float | None = None) -> bool:
        return next(self._waits)(timeout)


async def test_running_rows_of_a_dropped_request_leave_at_the_next_step() -> None:
    gates = Gates()
    async with stage([line(0, tokens=40), line(1, tokens=3)], gate=gates) as at:
        dropped = at.ticket()
        running = asyncio.create_task(at.text(0, dropped))
        await at.taken()
        other = asyncio.create_task(at.text(1))
        await at.queued(1)
        gates.set()
        await eventually(lambda: len(at.backend.batches) == 2)
        assert at.scheduler.rows == 1
        at.scheduler.drop(dropped)
        running.cancel()
        gates.second.set()
        assert await other == says(1, tokens=3)
        assert at.scheduler.rows == 0
        assert len(at.backend.steps) < 12


@pytest.mark.parametrize("fault", ["encode", "step", "number"])
async def test_a_poisonous_row_gets_its_own_error(fault: Literal["encode", "step", "number"]) -> None:
    lines = [line(index) for index in range(6)]
    lines[2] = replace(lines[2], fault=fault)
    gate = threading.Event()
    async with stage(lines, gate=gate, rows=8, encoder_rows=8, costs=TOGETHER) as at:
        tasks = await at.gated(6)
        gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[2], RecognitionFailed)
        assert [found[index] for index in (0, 1, 3, 4, 5)] == [says(index) for index in (0, 1, 3, 4, 5)]
        assert at.watched.failures == 1
        assert not at.watched.restarts
        assert await at.text(0) == says(0)


async def test_a_crashed_executor_is_replaced_and_its_windows_tried_again() -> None:
    lines = [line(index) for index in range(4)]
    lines[1] = replace(lines[1], fault="crash")
    async with stage(lines, rows=1) as at:
        found = await asyncio.gather(*(at.text(index) for index in range(4)), return_exceptions=True)
        assert [found[index] for index in (0, 2, 3)] == [says(index) for index in (0, 2, 3)]
        assert isinstance(found[1], RecognitionFailed)
        assert "twice" in str(found[1])
        assert at.watched.restarts == ["crashed", "crashed"]
        assert at.scheduler.executors == 1


async def test_the_batch_mates_of_a_window_that_crashes_executors_are_served() -> None:
    lines = [line(index, tokens=12) for index in range(6)]
    lines[2] = replace(lines[2], fault="crash", sound=4)
    gate = threading.Event()
    async with stage(lines, gate=gate, rows=8) as at:
        tasks = await at.gated(6)
        gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [found[index] for index in (0, 1, 3, 4, 5)] == [says(i, tokens=12) for i in (0, 1, 3, 4, 5)]
        assert isinstance(found[2], RecognitionFailed)
        assert at.watched.restarts == ["crashed", "crashed"]


async def test_windows_that_wait_do_not_get_stuck_in_a_variant_one_after_another() -> None:
    gate = threading.Event()
    async with stage([line(i) for i in range(6)], gate=gate, rows=2, stuck_s=0.4) as at:
        tasks = await at.gated(5)
        late = await asyncio.gather(*tasks, at.text(5))
        assert late == [says(index) for index in range(6)]
        assert await at.text(1) == says(1)  # asked for with the variant that is not trusted any more
        assert at.watched.restarts == ["stuck"]
        assert len(at.backend.batches) == 1


async def test_a_stuck_executor_is_replaced_and_its_windows_tried_again() -> None:
    gate = threading.Event()
    async with stage([line(0), line(1)], gate=gate, stuck_s=0.2) as at:
        assert await asyncio.wait_for(at.text(0), 10) == says(0)
        assert at.watched.restarts == ["stuck"]
        assert len(at.renewed) == 1
        assert at.scheduler.stalled_s() == 0
        gate.set()  # the lost one comes back to a window that is not its own any more
        assert await at.text(1) == says(1)
        assert at.scheduler.rows == 0


async def test_what_cannot_be_loaded_anew_fails_clearly() -> None:
    gate = threading.Event()
    async with stage([line(0)], gate=gate, stuck_s=0.2, renewal=ModelUnavailable("fake:fp32", "it is gone")) as at:
        with pytest.raises(ModelUnavailable, match="it is gone"):
            await asyncio.wait_for(at.text(0), 10)


async def test_whatever_loading_anew_raises_is_told() -> None:
    gate = threading.Event()
    async with stage([line(0)], gate=gate, stuck_s=0.2, renewal=OSError("no more")) as at:
        with pytest.raises(RecognitionFailed, match="OSError"):
            await asyncio.wait_for(at.text(0), 10)


async def test_closing_does_not_wait_for_a_stuck_executor() -> None:
    gate = threading.Event()
    async with stage([line(0)], gate=gate) as at:
        task = asyncio.create_task(at.text(0))
        await at.taken()
        task.cancel()
        gate.set()
    assert task.cancelled() or task.done()
