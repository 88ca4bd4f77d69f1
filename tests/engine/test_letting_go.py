"""What the scheduler does when a variant leaves memory, and when memory runs out."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from service.engine.profile import Hosted
from service.errors import RecognitionFailed
from tests.engine.recordings import TINY
from tests.engine.stores import linked_store
from tests.engine.test_scheduler import TOGETHER, Stage, eventually, line, says, stage

pytestmark = pytest.mark.anyio


def another(at: Stage) -> Hosted:
    """The same variant, loaded once more."""
    return replace(at.hosted)


async def texts_with(at: Stage, hosted: Hosted, count: int = 1) -> set[str]:
    kept, at.hosted = at.hosted, hosted
    try:
        return set(await asyncio.gather(*(at.text(0) for _ in range(count))))
    finally:
        at.hosted = kept


@pytest.mark.parametrize("executors", [1, 3])
async def test_executors_that_sleep_let_go_at_once(executors: int) -> None:
    async with stage([line(0)], executors=executors) as at:
        hosted = another(at)
        assert await texts_with(at, hosted, 2 * executors) == {says(0)}
        gone = weakref.ref(hosted)
        async with asyncio.timeout(1):
            await at.scheduler.forget(hosted)
        del hosted
        gc.collect()
        assert gone() is None


async def test_without_letting_go_the_batch_of_a_variant_stays() -> None:
    async with stage([line(0)]) as at:
        hosted = another(at)
        await texts_with(at, hosted)
        gone = weakref.ref(hosted)
        del hosted
        gc.collect()
        assert gone() is not None


async def test_letting_go_waits_for_rows_of_requests_that_have_left() -> None:
    gate = threading.Event()
    async with stage([line(0, tokens=40)], gate=gate) as at:
        ticket = at.ticket()
        task = asyncio.create_task(at.text(0, ticket))
        await at.taken()
        at.scheduler.drop(ticket)
        task.cancel()
        letting_go = asyncio.create_task(at.scheduler.forget(at.hosted))
        await asyncio.sleep(0.02)
        assert not letting_go.done()
        gate.set()
        async with asyncio.timeout(1):
            await letting_go
        assert at.scheduler.rows == 0


async def test_other_variants_are_served_meanwhile_and_after() -> None:
    async with stage([line(0, tokens=20)]) as at:
        hosted = another(at)
        await texts_with(at, hosted)
        running = asyncio.create_task(at.text(0))
        await at.scheduler.forget(hosted)
        assert await running == says(0, tokens=20)


async def test_closing_does_not_wait_for_letting_go() -> None:
    gate = threading.Event()
    async with stage([line(0)], gate=gate) as at:
        task = asyncio.create_task(at.text(0))
        await at.taken()
        letting_go = asyncio.create_task(at.scheduler.forget(at.hosted))
        task.cancel()
        gate.set()
    async with asyncio.timeout(1):
        await letting_go


async def test_a_row_that_runs_out_of_memory_is_lost_alone_and_counted() -> None:
    lines = [line(index) for index in range(3)]
    lines[1] = replace(lines[1], fault="memory", sound=3)
    gate = threading.Event()
    async with stage(lines, gate=gate) as at:
        tasks = await at.gated(3)
        gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [found[0], found[2]] == [says(0), says(2)]
        assert isinstance(found[1], RecognitionFailed)
        assert "there was not enough memory for it" in str(found[1])
        assert at.scheduler.exhausted == 2  # the step of all three, and the row by itself


@pytest.mark.parametrize("fits", [(3, 8), (8, 3)], ids=["encoder", "decoder"])
async def test_where_memory_is_short_fewer_are_computed_together(fits: tuple[int, int]) -> None:
    gate, everyone = threading.Event(), range(12)
    lines, texts = [line(index) for index in everyone], [says(index) for index in everyone]
    async with stage(lines, gate=gate, rows=8, encoder_rows=8, costs=TOGETHER, fits=fits) as at:
        tasks = await at.gated(12)
        gate.set()
        assert await asyncio.gather(*tasks) == texts
        assert not at.watched.failures
        told = at.scheduler.exhausted
        assert told  # more were tried
        assert max(at.watched.encodes) <= 3
        assert max(at.backend.steps) <= fits[1]
        assert await asyncio.gather(*(at.text(index) for index in everyone)) == texts
        assert at.scheduler.exhausted == told  # once was enough


async def test_other_faults_are_not_counted() -> None:
    async with stage([replace(line(0), fault="step")]) as at:
        with pytest.raises(RecognitionFailed, match="RuntimeError in the runtime"):
            await at.text(0)
        assert at.scheduler.exhausted == 0
        await eventually(lambda: at.watched.failures == 1)


def test_what_a_variant_took_is_given_back(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8", f"{TINY}/fp32")
    command = [sys.executable, "-m", "tests.engine.unloading", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    after = [int(line) for line in done.stdout.split()]
    assert max(after[5:]) < 1.05 * after[4]
