import asyncio
from collections.abc import Callable

import pytest

from service.engine.turns import LONG_BYTES, MOST_PATIENCE_S, Turns

pytestmark = pytest.mark.anyio

MIB = 2**20
HUGE = 500 * MIB


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Crowd:
    """Recordings that take turns; each holds its thread until it is told to end."""

    def __init__(self, threads: int) -> None:
        self.clock = Clock()
        self.turns = Turns(threads, clock=self.clock)
        self.running: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def comes(self, name: str, size_bytes: int, *, client: str = "") -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name, size_bytes, client))
        await settled()

    async def ends(self, name: str) -> None:
        self._ends[name].set()
        await settled()

    async def leaves(self, name: str) -> None:
        self.tasks[name].cancel()
        await settled()

    async def all_end(self) -> list[str]:
        """One after another; the order in which they began."""
        begun = list(self.running)
        while self.running:
            await self.ends(self.running[0])
            begun += [name for name in self.running if name not in begun]
        return begun

    async def _hold(self, name: str, size_bytes: int, client: str) -> None:
        async with self.turns.turn(size_bytes, client=client):
            self.running.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.running.remove(name)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_run_as_there_are_threads() -> None:
    crowd = Crowd(threads=2)
    for name in "abc":
        await crowd.comes(name, 1)
    assert (crowd.running, crowd.turns.waiting) == (["a", "b"], 1)
    await crowd.ends("a")
    assert (crowd.running, crowd.turns.waiting) == (["b", "c"], 0)


async def test_small_ones_overtake_large_ones() -> None:
    crowd = Crowd(threads=1)
    for name, size_bytes in {"first": 1, "huge": HUGE, "large": 5 * MIB, "small": 1000, "smaller": 10}.items():
        await crowd.comes(name, size_bytes)
    assert await crowd.all_end() == ["first", "smaller", "small", "large", "huge"]


@pytest.mark.parametrize(("threads", "most"), [(2, 1), (3, 1), (4, 2), (64, 32)])
async def test_long_ones_never_take_all_threads(threads: int, most: int) -> None:
    crowd = Crowd(threads)
    for index in range(threads + 1):
        await crowd.comes(f"long {index}", LONG_BYTES + 1)
    assert len(crowd.running) == most
    await crowd.comes("short", LONG_BYTES)
    assert crowd.running[-1] == "short"


async def test_a_long_one_is_let_in_before_those_that_come_half_a_minute_later() -> None:
    crowd = Crowd(threads=2)
    for name in ("a", "b"):
        await crowd.comes(name, 1)
    await crowd.comes("long", HUGE)
    crowd.clock.now_s = MOST_PATIENCE_S - 0.1
    await crowd.comes("in time", 1)
    crowd.clock.now_s = MOST_PATIENCE_S + 0.1
    await crowd.comes("late", 1)
    assert await crowd.all_end() == ["a", "b", "in time", "long", "late"]


async def test_a_flood_of_one_client_delays_no_other() -> None:
    crowd = Crowd(threads=1)
    for index in range(6):
        await crowd.comes(f"flood {index}", 1000, client="flood")
    for name in "ab":
        await crowd.comes(name, 1000, client="other")
    assert await crowd.all_end() == ["flood 0", "flood 1", "a", "flood 2", "b", "flood 3", "flood 4", "flood 5"]


async def test_who_leaves_while_waiting_never_runs() -> None:
    crowd = Crowd(threads=1)
    for name in "abc":
        await crowd.comes(name, 1)
    await crowd.leaves("b")
    assert crowd.turns.waiting == 1
    assert await crowd.all_end() == ["a", "c"]


async def test_who_leaves_while_running_makes_room() -> None:
    crowd = Crowd(threads=1)
    for name in "ab":
        await crowd.comes(name, 1)
    await crowd.leaves("a")
    assert crowd.running == ["b"]


@pytest.mark.parametrize("first", ["cancelled", "let in"])
async def test_who_leaves_in_the_moment_of_being_let_in_makes_room(first: str) -> None:
    crowd = Crowd(threads=1)
    for name in "abc":
        await crowd.comes(name, 1)
    acts: list[Callable[[], object]] = [crowd.tasks["b"].cancel, crowd.tasks["a"].cancel]
    for act in acts if first == "cancelled" else reversed(acts):
        act()
        await asyncio.sleep(0)
    await settled()
    assert (crowd.running, crowd.turns.waiting) == (["c"], 0)


async def test_all_that_wait_can_be_cancelled() -> None:
    crowd = Crowd(threads=1)
    for name in "abc":
        await crowd.comes(name, 1)
    crowd.turns.cancel()
    await settled()
    assert (crowd.running, crowd.turns.waiting) == (["a"], 0)
    assert crowd.tasks["b"].cancelled()
    assert crowd.tasks["c"].cancelled()
    await crowd.ends("a")
    assert not crowd.tasks["a"].cancelled()
