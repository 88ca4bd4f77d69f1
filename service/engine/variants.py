"""The variants in memory: loaded once whoever asks, leased to requests, let go when nobody uses them.

For the event loop. Loading and closing have a thread of their own, one after another. A variant that is on its way out
gives out no leases: who asks waits until it is gone and loaded again or, if that takes too long, has it stay.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from model_store.manifest import Manifest
from service.engine.device import Limit
from service.engine.failures import BLOCKED_S, Failures
from service.engine.heap import give_back
from service.engine.journal import Journal
from service.engine.lease import Lease, Resident
from service.engine.plan import Planned
from service.engine.profile import Hosted
from service.engine.resident import read_resident
from service.engine.room import GpuMemory, Occupant, Room, make_room_everywhere
from service.engine.types import Event, Happening, ModelInfo, State
from service.errors import ModelUnavailable, NoRoom, WrenError

T = TypeVar("T")

IDLE_S = 300.0
"""Seconds without use after which a variant leaves memory where nothing else is said."""

PATIENCE_S = 5.0
"""Seconds of idleness that must be allowed for anything to be loaded ahead of need."""

NO_GPU = GpuMemory(Limit(0, "none"), lambda _: 0)

EXCHANGE_S = 10.0
"""Seconds in which those must be answered who use a variant that is to go, where others wait for that."""


class VariantLoader(Protocol):
    """What brings variants into memory; called from one thread."""

    def present(self, manifest: Manifest) -> Manifest:
        """The build of it that lies in the store now."""
        ...

    def settle(self, manifest: Manifest, planned: Planned | None = None) -> Hosted: ...

    def load(self, manifest: Manifest) -> Hosted: ...

    def renew(self, lost: Hosted) -> Hosted: ...


class Variants:
    """See the module.

    Attributes:
        serving: names of those that clients get who ask for nothing; they stay where nothing is said.
        failures: what could not be loaded lately.
        exchange_s: how long others wait for those who use what is to go.
    """

    def __init__(
        self,
        loader: VariantLoader,
        journal: Journal,
        *,
        limit: Limit,
        footprint: Callable[[Manifest], int],
        gpu: GpuMemory = NO_GPU,
        idle_s: float | None,
        forget: Callable[[Hosted], Awaitable[None]],
    ) -> None:
        """Make one.

        Args:
            loader: brings them in.
            journal: is told of each that comes, goes or cannot come.
            limit: of what the process may have resident.
            footprint: bytes that the process is expected to grow by with a variant.
            gpu: the same of each GPU.
            idle_s: as the setting; None is `IDLE_S`, and never for those that serve by default.
            forget: sees that no executor holds on to a variant.
        """
        self._loader, self._journal = loader, journal
        self._limit, self._footprint, self._gpu, self._idle_s = limit, footprint, gpu, idle_s
        self._forget = forget
        self.serving: Set[str] = frozenset()
        self.exchange_s = EXCHANGE_S
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wren-load")
        self._residents: dict[str, Resident] = {}
        self._loading: dict[str, asyncio.Task[Resident]] = {}
        self._leaving: dict[Resident, asyncio.Task[None]] = {}
        self.failures = Failures()
        self._renewing = asyncio.Lock()
        self._bringing = asyncio.Lock()  # room is made for one at a time, and taken before it is made for the next

    @property
    def patient(self) -> bool:
        """Whether what nobody uses stays for a while."""
        return self._idle_s is None or self._idle_s < 0 or self._idle_s >= PATIENCE_S

    def names(self) -> tuple[str, ...]:
        """Of those in memory."""
        return tuple(self._residents)

    def info(self, manifest: Manifest, *, unable: str | None = None) -> ModelInfo:
        """How it stands with a variant; `unable` is why this machine cannot run it, if that is known."""
        name, failure = manifest.name, self.failures.told(manifest) or unable
        resident = self._residents.get(name) or next((one for one in self._leaving if one.name == name), None)
        if resident is None:
            state: State = "loading" if name in self._loading else "failed" if failure else "available"
            return ModelInfo(manifest, state, default=False, failure=failure)
        state = "loaded" if name in self._residents else "draining"
        return resident.info(manifest, state, failure=failure)

    def find(self, manifest: Manifest) -> Resident | None:
        """The variant if this very build of it is in memory."""
        found = self._residents.get(manifest.name)
        return found if found and found.hosted.manifest.digest == manifest.digest else None

    def touch(self, manifest: Manifest) -> bool:
        """Whether the variant is in memory, where it then counts as used."""
        resident = self.find(manifest)
        if resident is not None:
            resident.used_s = time.monotonic()
        return resident is not None

    def lease_present(self, manifest: Manifest) -> Lease | None:
        """The variant if it is in memory; at once."""
        resident = self.find(manifest)
        return None if resident is None else Lease(resident, ended=self._ended)

    async def lease(self, manifest: Manifest, *, keep_alive_s: float | None = None) -> Lease:
        """A variant, loaded if it is not there; the present build of it, whichever was chosen.

        Raises:
            ModelUnavailable: it cannot be loaded, or could not a moment ago.
            NoRoom: there is no memory for it.
        """
        resident = self.find(manifest)
        while resident is None:
            self.failures.refuse(manifest)
            loaded = await self._once(manifest, lambda: self._load(manifest, "a request wants it"))
            resident = loaded if loaded is self._residents.get(manifest.name) else None  # it may be on its way out
        if keep_alive_s is not None:
            resident.keep_s = keep_alive_s
        return Lease(resident, ended=self._ended)

    async def load(self, manifest: Manifest, *, reason: str, keep_alive_s: float | None = None) -> Resident:
        """Have a variant in memory, tried again even if it failed a moment ago.

        Raises:
            ModelUnavailable, NoRoom: as above.
        """
        resident = await self._noted(manifest, lambda: self._load(manifest, reason))
        if keep_alive_s is not None:
            resident.keep_s = keep_alive_s
        return resident

    async def room(self, manifest: Manifest, *, without: Manifest | None = None) -> Room:
        """What would have to go so that it can be loaded; as if `without` were gone already."""
        await self._in_thread(give_back)
        leaving = self.find(without) if without else None
        occupants = [self._occupant(one, going=one is leaving) for one in self._residents.values()]
        needed = self._footprint(manifest), self._gpu.footprint(manifest)
        used_bytes = read_resident().now_bytes
        return make_room_everywhere(
            needed, occupants, used_bytes=used_bytes, limit=self._limit, gpu_limit=self._gpu.limit
        )

    async def exchange(self, old: Manifest, new: Manifest, *, reason: str, urgent: bool) -> Resident:
        """Let a variant go before another comes, for there is no room for both; who asks for the new one waits.

        Raises:
            NoRoom: the old one is used for too long (if it is not urgent, at all), or its room is not enough. It is in
                memory as before.
            ModelUnavailable: the new one cannot be loaded; the old one is in memory, loaded anew, if it is no build of
                the same variant.
        """
        return await self._noted(new, lambda: self._exchange(old, new, reason, urgent=urgent))

    async def settle(self, manifest: Manifest, planned: Planned | None) -> Resident:
        """Load the variant that mostly serves, before all others: by it the executors are chosen.

        Raises:
            ModelUnavailable: as above.
        """
        return await self._brought(manifest, lambda: self._loader.settle(manifest, planned), "it is to serve")

    async def unload(self, name: str, *, reason: str) -> None:
        """Take a variant out of memory; returns when its last lease has ended and it is gone.

        It stays if somebody who asks for it would have to wait too long for that.
        """
        if name in self._loading:
            await asyncio.wait([self._loading[name]])
        if resident := self._residents.get(name):
            self._retire(resident, reason)
        if leaving := [task for one, task in self._leaving.items() if one.name == name]:
            await asyncio.wait(leaving)

    async def renew(self, lost: Hosted) -> Hosted:
        """A variant whose executor was lost, loaded anew; one that was renewed meanwhile is taken.

        Raises:
            ModelUnavailable: as above.
        """
        async with self._renewing:
            digest = lost.manifest.digest
            there = (*self._residents.values(), *self._leaving)
            resident = next((one for one in there if one.hosted.manifest.digest == digest), None)
            if resident is None:
                return await self._in_thread(lambda: self._loader.renew(lost))
            if resident.hosted is lost:
                resident.hosted = await self._in_thread(lambda: self._loader.renew(lost))
            return resident.hosted

    def tend(self) -> None:
        """Let go what has been idle for too long."""
        for resident in tuple(self._residents.values()):
            self._ended(resident)
        self.failures.tidy()

    def relieve(self) -> None:
        """Let go all that is idle and does not serve: memory is short."""
        for resident in tuple(self._residents.values()):
            if not resident.leases and resident.name not in self.serving:
                self._retire(resident, "memory is short, and it was idle")

    async def close(self) -> None:
        """Drop what is being loaded or let go."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        tasks = (*self._loading.values(), *self._leaving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _noted(self, manifest: Manifest, load: Callable[[], Coroutine[None, None, Resident]]) -> Resident:
        """With an event where there is no room; requests that are refused for that may be too many for one each."""
        began_s = time.monotonic()
        try:
            return await self._once(manifest, load)
        except NoRoom as error:
            self._note("failed", manifest.name, str(error), began_s)
            raise

    async def _once(self, manifest: Manifest, load: Callable[[], Coroutine[None, None, Resident]]) -> Resident:
        """What is being loaded by this name, by now; it goes on when who waits for it leaves."""
        name = manifest.name
        if name not in self._loading:
            self._loading[name] = asyncio.create_task(load())
            self._loading[name].add_done_callback(lambda task: self._loaded(name, task))
        return await asyncio.shield(self._loading[name])

    async def _exchange(self, old: Manifest, new: Manifest, reason: str, *, urgent: bool) -> Resident:
        resident = self.find(old)
        if resident is None:
            return await self._load(new, reason)
        if short := (await self.room(new, without=old)).reason:
            raise NoRoom(new.name, reason=short)
        going = self._retire(resident, f"it makes room for {new.name}")
        await asyncio.wait([going], timeout=self.exchange_s if urgent else 0.0)
        if self._revived(resident):
            raise NoRoom(new.name, reason=f"{old.name} would have to go first, and is in use")
        await asyncio.wait([going])
        try:
            return await self._load(new, reason)
        except WrenError:
            if old.name != new.name:  # of two builds of one variant the store has the new one alone
                await self.load(old, reason=f"{new.name} could not take its place")
            raise

    async def _load(self, manifest: Manifest, reason: str) -> Resident:
        present = await self._in_thread(lambda: self._loader.present(manifest))
        while same := [one for one in self._leaving if one.hosted.manifest.digest == present.digest]:
            await asyncio.wait([self._leaving[same[0]]], timeout=self.exchange_s)
            if self._revived(same[0]):
                break
        if found := self.find(present):
            return found
        return await self._brought(present, lambda: self._loader.load(present), reason, needs_room=True)

    def _revived(self, resident: Resident) -> bool:
        """Keep what was to go and is in use still; whether it is."""
        if not resident.leases or resident not in self._leaving or resident.name in self._residents:
            return False
        self._leaving.pop(resident).cancel()
        self._residents[resident.name] = resident
        return True

    async def _brought(
        self, manifest: Manifest, bring: Callable[[], Hosted], reason: str, *, needs_room: bool = False
    ) -> Resident:
        async with self._bringing:
            began_s = time.monotonic()
            try:
                if needs_room:
                    await self._make_room(manifest)
                before_bytes = read_resident().now_bytes
                hosted = await self._in_thread(lambda: _hosted(manifest, bring))
            except NoRoom as error:
                self.failures.note(manifest, error, blocked_s=0.0)  # others may leave at any time
                raise
            except ModelUnavailable as error:
                self.failures.note(manifest, error, blocked_s=BLOCKED_S)
                self._note("failed", manifest.name, str(error), began_s)
                raise
            grown_bytes = read_resident().now_bytes - before_bytes
        self.failures.clear(manifest)
        if old := self._residents.get(manifest.name):
            self._retire(old, "another build took its place")
        resident = self._residents[manifest.name] = Resident(hosted, grown_bytes, time.monotonic() - began_s)
        self._note("loaded", manifest.name, reason, began_s, grown_bytes)
        return resident

    async def _make_room(self, manifest: Manifest) -> None:
        room = await self.room(manifest)
        if room.short_bytes:
            raise NoRoom(manifest.name, reason=room.reason)
        gone = [self._retire(self._residents[name], f"it makes room for {manifest.name}") for name in room.evicted]
        await asyncio.gather(*gone)

    def _occupant(self, resident: Resident, *, going: bool) -> Occupant:
        manifest, on_gpu = resident.hosted.manifest, bool(resident.hosted.recognizer.backend.device_bytes)
        return Occupant(
            resident.name,
            # What it grew by was seen while others computed: it is no less than its files, where they are.
            max(resident.memory_bytes, 0 if on_gpu else manifest.total_bytes),
            leases=0 if going else resident.leases,
            idle_s=resident.idle_s() or 0.0,
            kept=resident.keep_s == math.inf,
            serving=resident.name in self.serving and not going,
            gpu_bytes=self._gpu.footprint(manifest) if on_gpu else 0,
        )

    def _ended(self, resident: Resident) -> None:
        """A lease ended, or time went by."""
        idle_s, kept_s = resident.idle_s(), self._kept_s(resident)
        if idle_s is not None and idle_s >= kept_s and self._residents.get(resident.name) is resident:
            self._retire(resident, f"nobody has used it for {kept_s:g} s")

    def _kept_s(self, resident: Resident) -> float:
        if resident.keep_s is not None:
            return resident.keep_s
        if self._idle_s is None:
            return math.inf if resident.name in self.serving else IDLE_S
        return math.inf if self._idle_s < 0 else self._idle_s

    def _retire(self, resident: Resident, reason: str) -> "asyncio.Task[None]":
        """Give out no more leases of it, and let it go after the last."""
        del self._residents[resident.name]
        task = self._leaving[resident] = asyncio.create_task(self._let_go(resident, reason))
        task.add_done_callback(lambda _: self._gone(resident, task))
        return task

    def _gone(self, resident: Resident, task: "asyncio.Task[None]") -> None:
        if self._leaving.get(resident) is task:  # it may have stayed, and be leaving again
            del self._leaving[resident]

    async def _let_go(self, resident: Resident, reason: str) -> None:
        began_s = time.monotonic()
        await resident.unused.wait()
        before_bytes = read_resident().now_bytes
        await self._forget(resident.hosted)
        await self._in_thread(resident.hosted.recognizer.backend.close)
        await self._in_thread(give_back)
        self._note("unloaded", resident.name, reason, began_s, read_resident().now_bytes - before_bytes)

    def _loaded(self, name: str, task: "asyncio.Task[Resident]") -> None:
        self._loading.pop(name, None)
        if not task.cancelled():
            task.exception()  # whoever waited has been told; it may have left

    def _note(self, kind: Happening, variant: str, reason: str, began_s: float, memory_bytes: int = 0) -> None:
        took_s = time.monotonic() - began_s
        self._journal.note(Event(datetime.now(UTC), kind, variant, reason, took_s, memory_bytes))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """What has not begun when the engine closes never does."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _hosted(manifest: Manifest, bring: Callable[[], Hosted]) -> Hosted:
    """What was brought.

    Raises:
        ModelUnavailable: it cannot be, for whatever reason: what serves goes on.
    """
    try:
        return bring()
    except ModelUnavailable:
        raise
    except Exception as error:
        raise ModelUnavailable(manifest.name, f"{type(error).__name__}: {error}") from error
