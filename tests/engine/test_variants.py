import asyncio
import gc
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from model_store.manifest import Manifest
from service.engine.device import Limit
from service.engine.heap import give_back
from service.engine.journal import Journal
from service.engine.observing import Unobserved
from service.engine.profile import Hosted
from service.engine.resident import read_resident
from service.engine.variants import Variants
from service.errors import ModelUnavailable, NoRoom
from tests.engine.hosting import FakeLoader, eventually, manifest_of

pytestmark = pytest.mark.anyio

ONE, TWO, THREE = (manifest_of(name) for name in ("tiny:fp32", "tiny:int8", "tiny:pruned-int8"))
NO_LIMIT = Limit(math.inf, "no limit")
MIB = 2**20


def needed(manifest: Manifest, needed_bytes: int) -> Callable[[Manifest], int]:
    return lambda one: needed_bytes if one is manifest else 0


@dataclass
class House:
    variants: Variants
    loader: FakeLoader
    journal: Journal
    forgotten: list[str]

    def happened(self) -> list[tuple[str, str]]:
        return [(event.kind, event.variant) for event in reversed(self.journal.events)]

    def states(self) -> list[str]:
        return [self.variants.info(manifest).state for manifest in (ONE, TWO, THREE)]


@asynccontextmanager
async def house(
    loader: FakeLoader | None = None,
    *,
    limit: Limit = NO_LIMIT,
    needs: Callable[[Manifest], int] = lambda _: 0,
    idle_s: float | None = None,
) -> AsyncIterator[House]:
    loader = loader or FakeLoader()
    journal, forgotten = Journal(Unobserved()), list[str]()

    async def forget(hosted: Hosted) -> None:
        forgotten.append(hosted.manifest.name)

    variants = Variants(
        loader,
        journal,
        limit=limit,
        footprint=needs,
        idle_s=idle_s,
        forget=forget,
    )
    yield House(variants, loader, journal, forgotten)
    await variants.close()


async def test_a_variant_is_loaded_once_whoever_asks() -> None:
    async with house(FakeLoader(gate=threading.Event())) as at:
        leases = [asyncio.create_task(at.variants.lease(ONE)) for _ in range(10)]
        await eventually(lambda: at.loader.loads == [ONE.name])
        assert at.states() == ["loading", "available", "available"]
        assert at.loader.gate is not None
        at.loader.gate.set()
        found = {id(lease.hosted) for lease in await asyncio.gather(*leases)}
        assert len(found) == 1
        assert at.loader.loads == [ONE.name]
        assert at.variants.info(ONE).leases == 10


async def test_who_stops_waiting_does_not_stop_the_load_for_others() -> None:
    async with house(FakeLoader(gate=threading.Event())) as at:
        leaves, stays = (asyncio.create_task(at.variants.lease(ONE)) for _ in range(2))
        await eventually(lambda: at.loader.loads == [ONE.name])
        leaves.cancel()
        assert at.loader.gate is not None
        at.loader.gate.set()
        assert (await stays).hosted.manifest.name == ONE.name
        assert leaves.cancelled()


async def test_unloading_waits_for_the_last_lease() -> None:
    async with house() as at:
        first, second = await at.variants.lease(ONE), await at.variants.lease(ONE)
        unloading = asyncio.create_task(at.variants.unload(ONE.name, reason="ordered"))
        await eventually(lambda: at.states()[0] == "draining")
        with first:
            pass
        await asyncio.sleep(0.02)
        assert not unloading.done()
        assert not at.loader.backends[0].closed
        with second:
            pass
        await unloading
        assert at.states()[0] == "available"
        assert at.loader.backends[0].closed
        assert at.forgotten == [ONE.name]
        assert at.happened() == [("loaded", ONE.name), ("unloaded", ONE.name)]


async def test_who_asks_for_what_is_leaving_waits_and_gets_it_anew() -> None:
    async with house() as at:
        lease = await at.variants.lease(ONE)
        unloading = asyncio.create_task(at.variants.unload(ONE.name, reason="ordered"))
        await eventually(lambda: at.states()[0] == "draining")
        coming = asyncio.create_task(at.variants.lease(ONE))
        await asyncio.sleep(0.02)
        assert not coming.done()
        with lease:
            pass
        await unloading
        assert (await coming).hosted is not lease.hosted
        assert at.loader.loads == [ONE.name] * 2


async def test_what_is_asked_for_and_used_for_too_long_stays() -> None:
    async with house() as at:
        at.variants.exchange_s = 0.02
        lease = await at.variants.lease(ONE)
        unloading = asyncio.create_task(at.variants.unload(ONE.name, reason="ordered"))
        await eventually(lambda: at.states()[0] == "draining")
        assert (await at.variants.lease(ONE)).hosted is lease.hosted
        await unloading
        assert at.states()[0] == "loaded"
        assert at.loader.loads == [ONE.name]


async def test_who_asks_for_what_is_being_closed_gets_it_anew() -> None:
    async with house() as at:
        await at.variants.load(ONE, reason="ordered")
        unloading = asyncio.create_task(at.variants.unload(ONE.name, reason="ordered"))
        await asyncio.sleep(0)
        assert at.states()[0] == "draining"
        lease = await at.variants.lease(ONE)
        await unloading
        assert not at.loader.backends[1].closed
        assert lease.hosted.recognizer.backend is at.loader.backends[1]
        assert at.loader.loads == [ONE.name] * 2


async def test_what_is_not_there_is_unloaded_at_once() -> None:
    async with house() as at:
        await at.variants.unload(ONE.name, reason="ordered")
        assert at.happened() == []


async def test_a_variant_that_fails_is_reported_and_not_tried_for_a_while() -> None:
    async with house(FakeLoader(faults={TWO.name: "its file is damaged"})) as at:
        kept = await at.variants.lease(ONE)
        for _ in range(2):
            with pytest.raises(ModelUnavailable, match="damaged"):
                await at.variants.lease(TWO)
        assert at.loader.loads == [ONE.name, TWO.name]
        assert at.states() == ["loaded", "failed", "available"]
        assert at.variants.failures.blocks(TWO)
        assert "damaged" in (at.variants.info(TWO).failure or "")
        assert at.happened() == [("loaded", ONE.name), ("failed", TWO.name)]
        assert kept.hosted.manifest.name == ONE.name


async def test_an_order_tries_again_what_failed() -> None:
    async with house(FakeLoader(faults={ONE.name: "its file is damaged"})) as at:
        with pytest.raises(ModelUnavailable):
            await at.variants.load(ONE, reason="ordered")
        at.loader.faults.clear()
        await at.variants.load(ONE, reason="ordered")
        assert at.states()[0] == "loaded"
        assert not at.variants.failures.blocks(ONE)


async def test_what_is_too_large_is_refused_by_name() -> None:
    limit = Limit(read_resident().now_bytes + 50 * MIB, "WREN_MEMORY", chosen=True)
    async with house(limit=limit, needs=lambda _: 1024 * MIB) as at:
        with pytest.raises(NoRoom, match=f"'{ONE.name}'.*WREN_MEMORY"):
            await at.variants.lease(ONE)
        assert at.loader.loads == []
        assert at.states()[0] == "failed"


async def test_the_least_lately_used_makes_room() -> None:
    limit = Limit(read_resident().now_bytes + 50 * MIB, "WREN_MEMORY", chosen=True)
    async with house(limit=limit, needs=needed(THREE, 120 * MIB)) as at:
        for manifest in (ONE, TWO):
            (await at.variants.load(manifest, reason="ordered")).memory_bytes = 100 * MIB
        with await at.variants.lease(ONE):
            pass
        await at.variants.load(THREE, reason="ordered")
        assert at.states() == ["loaded", "available", "loaded"]


async def test_what_serves_or_is_used_never_makes_room() -> None:
    limit = Limit(read_resident().now_bytes + 50 * MIB, "WREN_MEMORY", chosen=True)
    async with house(limit=limit, needs=needed(THREE, 120 * MIB)) as at:
        for manifest in (ONE, TWO):
            (await at.variants.load(manifest, reason="ordered")).memory_bytes = 100 * MIB
        at.variants.serving = {ONE.name}
        with await at.variants.lease(TWO), pytest.raises(NoRoom):
            await at.variants.load(THREE, reason="ordered")
        assert at.states() == ["loaded", "loaded", "failed"]


@pytest.mark.parametrize(("keep_alive_s", "state"), [(0.0, "available"), (math.inf, "loaded"), (None, "loaded")])
async def test_a_request_says_how_long_its_variant_stays(keep_alive_s: float | None, state: str) -> None:
    async with house() as at:
        with await at.variants.lease(ONE, keep_alive_s=keep_alive_s):
            at.variants.tend()
            assert at.states()[0] == "loaded"
        if state == "available":
            await eventually(lambda: at.states()[0] == state)
        at.variants.tend()
        assert at.states()[0] == state


async def test_what_is_idle_for_too_long_goes() -> None:
    async with house(idle_s=0.01) as at:
        await at.variants.load(ONE, reason="ordered")
        await at.variants.load(TWO, reason="ordered", keep_alive_s=math.inf)
        await asyncio.sleep(0.02)
        at.variants.tend()
        await eventually(lambda: at.states()[0] == "available")
        assert at.states()[1] == "loaded"


async def test_what_serves_stays_where_no_idle_time_is_set() -> None:
    async with house() as at:
        serves, other = await at.variants.load(ONE, reason="ordered"), await at.variants.load(TWO, reason="ordered")
        at.variants.serving = {ONE.name}
        serves.used_s = other.used_s = serves.used_s - 1e6
        at.variants.tend()
        await eventually(lambda: at.states()[1] == "available")
        assert at.states()[0] == "loaded"


async def test_another_build_takes_the_place_of_the_first() -> None:
    newer = manifest_of(ONE.name, build=2)
    async with house() as at:
        lease = await at.variants.lease(ONE)
        at.loader.store[ONE.name] = newer
        assert (await at.variants.lease(newer)).hosted.manifest.digest == newer.digest
        assert not at.loader.backends[0].closed
        with lease:
            pass
        await eventually(lambda: at.loader.backends[0].closed)
        assert not at.loader.backends[1].closed
        assert at.states()[0] == "loaded"


async def test_leases_go_on_with_what_was_renewed() -> None:
    async with house() as at:
        with await at.variants.lease(ONE) as lost:
            found = await asyncio.gather(*(at.variants.renew(lost) for _ in range(3)))
            assert len({id(hosted) for hosted in found}) == 1
            assert found[0] is not lost
            assert (await at.variants.lease(ONE)).hosted is found[0]
        assert at.loader.loads == [ONE.name] * 2


async def test_memory_that_is_short_is_relieved_of_what_is_idle() -> None:
    async with house() as at:
        for manifest in (ONE, TWO, THREE):
            await at.variants.load(manifest, reason="ordered")
        at.variants.serving = {ONE.name}
        with await at.variants.lease(TWO):
            at.variants.relieve()
            await eventually(lambda: at.states()[2] == "available")
            assert at.states()[:2] == ["loaded", "loaded"]


@asynccontextmanager
async def narrow_house(*, faults: dict[str, str] | None = None, needs_mib: int = 120) -> AsyncIterator[House]:
    """With room for one at a time, which takes 100 MiB."""
    gc.collect()  # what earlier tests left must not be given back half-way: it would be room
    give_back()
    limit = Limit(read_resident().now_bytes + 50 * MIB, "WREN_MEMORY", chosen=True)
    loader = FakeLoader(faults=faults or {})

    def needs(_: Manifest) -> int:
        return needs_mib * MIB if any(not backend.closed for backend in loader.backends) else 0

    async with house(loader, limit=limit, needs=needs) as at:
        (await at.variants.load(ONE, reason="ordered")).memory_bytes = 100 * MIB
        at.variants.serving = {ONE.name}
        yield at


async def test_where_there_is_no_room_for_both_one_goes_first_and_who_comes_waits() -> None:
    async with narrow_house() as at:
        used = await at.variants.lease(ONE)
        assert (await at.variants.room(TWO)).short_bytes
        exchange = asyncio.create_task(at.variants.exchange(ONE, TWO, reason="ordered", urgent=True))
        await eventually(lambda: at.states()[:2] == ["draining", "loading"])
        coming = [asyncio.create_task(at.variants.lease(TWO)) for _ in range(3)]
        with used:
            pass
        await exchange
        assert {(await lease).hosted.manifest.name for lease in coming} == {TWO.name}
        assert at.states() == ["available", "loaded", "available"]
        assert at.loader.loads == [ONE.name, TWO.name]


async def test_what_could_not_take_the_place_of_another_gives_it_back() -> None:
    async with narrow_house(faults={TWO.name: "its file is damaged"}) as at:
        with pytest.raises(ModelUnavailable, match="damaged"):
            await at.variants.exchange(ONE, TWO, reason="ordered", urgent=True)
        assert at.states() == ["loaded", "failed", "available"]


async def test_what_is_used_for_too_long_stays() -> None:
    async with narrow_house() as at:
        at.variants.exchange_s = 0.02
        with await at.variants.lease(ONE):
            with pytest.raises(NoRoom, match=f"{ONE.name} would have to go first"):
                await at.variants.exchange(ONE, TWO, reason="ordered", urgent=True)
            assert at.states()[0] == "loaded"
        assert (await at.variants.lease(ONE)).hosted is not None
        assert not at.loader.backends[0].closed


async def test_what_would_not_make_enough_room_is_not_sent_away() -> None:
    async with narrow_house(needs_mib=400) as at:
        with await at.variants.lease(ONE), pytest.raises(NoRoom, match="needs"):
            await at.variants.exchange(ONE, TWO, reason="ordered", urgent=True)
        assert at.states()[0] == "loaded"
        assert at.forgotten == []


async def test_nobody_is_made_to_wait_for_what_is_in_no_hurry() -> None:
    async with narrow_house() as at:
        with await at.variants.lease(ONE), pytest.raises(NoRoom, match="is in use"):
            await at.variants.exchange(ONE, TWO, reason="it is calm", urgent=False)
        assert at.states()[0] == "loaded"
        await at.variants.exchange(ONE, TWO, reason="it is calm", urgent=False)
        assert at.states()[:2] == ["available", "loaded"]


async def test_who_asks_for_the_old_one_in_an_exchange_keeps_it() -> None:
    async with narrow_house() as at:
        at.variants.exchange_s = 0.02
        with await at.variants.lease(ONE):
            exchange = asyncio.create_task(at.variants.exchange(ONE, TWO, reason="ordered", urgent=True))
            await eventually(lambda: at.states()[0] == "draining")
            assert (await at.variants.lease(ONE)).hosted.manifest.name == ONE.name
            with pytest.raises(NoRoom):
                await exchange
        assert at.loader.loads == [ONE.name]


async def test_a_request_that_finds_no_room_leaves_no_event() -> None:
    async with narrow_house() as at:
        with await at.variants.lease(ONE), pytest.raises(NoRoom):
            await at.variants.lease(TWO)
        assert at.happened() == [("loaded", ONE.name)]
        with pytest.raises(NoRoom):
            await at.variants.load(TWO, reason="ordered")
        assert at.happened()[-1] == ("failed", TWO.name)


async def test_whatever_a_load_dies_of_is_told_as_unavailable() -> None:
    async with house(FakeLoader(crashes={ONE.name: OSError("disk gone")})) as at:
        with pytest.raises(ModelUnavailable, match="OSError: disk gone"):
            await at.variants.lease(ONE)
        assert at.states()[0] == "failed"


async def test_a_new_build_that_fails_in_an_exchange_is_told_and_nobody_hangs() -> None:
    async with narrow_house() as at:
        newer = manifest_of(ONE.name, build=2)
        at.loader.store[ONE.name] = newer
        at.loader.faults[ONE.name] = "its file is damaged"
        async with asyncio.timeout(5):
            with pytest.raises(ModelUnavailable, match="damaged"):
                await at.variants.exchange(ONE, newer, reason="it is to serve", urgent=True)
            with pytest.raises(ModelUnavailable, match="damaged"):
                await at.variants.lease(newer)
