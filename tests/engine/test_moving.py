"""Requests that are moved to another variant while they wait."""

import asyncio
import threading

import pytest

from service.backends.fake import FakeBackend
from service.engine.profile import Hosted
from service.recognition.recognizer import Recognizer
from tests.engine.hosting import manifest_of
from tests.engine.test_scheduler import END, eventually, index_of, line, says, stage
from tests.recognition.models import whisper

pytestmark = pytest.mark.anyio


def other_of(hosted: Hosted) -> tuple[Hosted, FakeBackend]:
    """A variant that says the lines in another order."""
    lines = [line(index) for index in (3, 2, 1, 0)]
    backend = FakeBackend(lines, vocabulary=51_864, end_token=END, chosen=index_of)
    return Hosted(manifest_of("fake:int8"), Recognizer(backend, whisper()), hosted.profile), backend


async def test_who_waits_is_computed_by_the_other_variant_from_the_beginning() -> None:
    gate = threading.Event()
    async with stage([line(index) for index in range(4)], gate=gate) as at:
        other, backend = other_of(at.hosted)
        tickets = [at.ticket() for _ in range(4)]
        tasks = [asyncio.create_task(at.text(0, tickets[0]))]
        await at.taken()
        tasks += [asyncio.create_task(at.text(index, tickets[index])) for index in range(1, 4)]
        await at.queued(3)
        assert [at.scheduler.move(ticket, other) for ticket in tickets] == [False, True, True, True]
        gate.set()
        assert await asyncio.gather(*tasks) == [says(0), says(2), says(1), says(0)]
        assert len(at.backend.batches) == 1
        assert len(backend.batches) == 3


async def test_who_is_moved_twice_is_computed_once() -> None:
    gate = threading.Event()
    async with stage([line(index) for index in range(4)], gate=gate) as at:
        (one, backend), (two, _) = other_of(at.hosted), other_of(at.hosted)
        running, waiting = asyncio.create_task(at.text(0)), at.ticket()
        await at.taken()
        task = asyncio.create_task(at.text(3, waiting))
        await at.queued(1)
        for _ in range(10):
            assert at.scheduler.move(waiting, two)
            assert at.scheduler.move(waiting, one)
        await at.queued(1)
        gate.set()
        assert await task == says(0)
        assert await running == says(0)
        assert len(backend.batches) == 1


async def test_who_is_moved_while_its_features_are_computed_goes_to_the_other_variant() -> None:
    async with stage([line(index) for index in range(4)]) as at:
        other, backend = other_of(at.hosted)
        for _ in range(20):
            ticket = at.ticket()
            task = asyncio.create_task(at.text(3, ticket))
            await asyncio.sleep(0)  # it has begun, and is somewhere on its way to an executor
            expected = says(0) if at.scheduler.move(ticket, other) else says(3)
            assert await task == expected
    assert len(backend.batches) + len(at.backend.batches) == 20


async def test_who_has_left_is_not_moved() -> None:
    gate = threading.Event()
    async with stage([line(index) for index in range(4)], gate=gate) as at:
        other, backend = other_of(at.hosted)
        running, gone = asyncio.create_task(at.text(0)), at.ticket()
        await at.taken()
        task = asyncio.create_task(at.text(1, gone))
        await at.queued(1)
        at.scheduler.drop(gone)
        assert not at.scheduler.move(gone, other)
        gate.set()
        await running
        await eventually(lambda: at.scheduler.waiting == 0)
        task.cancel()
        assert backend.batches == []
