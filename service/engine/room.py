"""What is in memory and what wants to be in; what has to go for it, or why it cannot come in, out. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from model_store.manifest import Manifest
from service.engine.device import Limit
from service.engine.gpu import CONTEXT_BYTES
from service.engine.plan import Costs
from service.units import shown_size

UNMEASURED = 1.5
"""Times its files: what a variant takes that was never measured. Runtimes keep some weights in another order beside."""


@dataclass(frozen=True, slots=True)
class Occupant:
    """A variant in memory.

    Attributes:
        bytes: that the process grew by when it came.
        leases: requests that use it now.
        idle_s: since when nobody has.
        kept: whether somebody asked that it stay for as long as there is room.
        serving: whether clients get it without asking for it by its name.
        gpu_bytes: that it needs of each GPU; 0 if it computes on the CPU.
    """

    name: str
    bytes: int
    leases: int = 0
    idle_s: float = 0.0
    kept: bool = False
    serving: bool = False
    gpu_bytes: int = 0


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Of each GPU: what may be used, and what a variant is expected to need of it."""

    limit: Limit
    footprint: Callable[[Manifest], int]


@dataclass(frozen=True, slots=True)
class Room:
    """Which variants have to go, in order; where that is not enough none, `short_bytes` and the reason."""

    evicted: tuple[str, ...] = ()
    short_bytes: int = 0
    reason: str = ""


def footprint(manifest_bytes: int, costs: Costs | None, base_bytes: int) -> int:
    """Bytes that this process should grow by when the variant is loaded.

    What it computes with comes in place of what the others do.

    Args:
        manifest_bytes: of its files.
        costs: what was measured of it, in a server of its own.
        base_bytes: what this server had resident before any variant, as that one had.
    """
    if costs is None:
        return math.ceil(UNMEASURED * manifest_bytes)
    least_bytes = 0 if costs.gpu_bytes else manifest_bytes
    return max(least_bytes, (costs.idle_bytes or costs.memory_bytes) - base_bytes)


def gpu_footprint(manifest_bytes: int, costs: Costs | None, *, on_gpu: bool) -> int:
    """Bytes of each GPU that a variant needs beside what CUDA takes once.

    Args:
        manifest_bytes: of its files.
        costs: what was measured of it.
        on_gpu: whether it would compute there, if nothing was measured.
    """
    if costs is not None:
        return max(0, costs.gpu_bytes - CONTEXT_BYTES)
    return math.ceil(UNMEASURED * manifest_bytes) if on_gpu else 0


def make_room_everywhere(
    needed: tuple[int, int], occupants: Sequence[Occupant], *, used_bytes: int, limit: Limit, gpu_limit: Limit
) -> Room:
    """What has to go so that so many bytes of memory, and so many of each GPU, fit more."""
    room = make_room(needed[0], occupants, used_bytes=used_bytes, limit=limit)
    if room.short_bytes or not needed[1]:
        return room
    on_gpu = [replace(one, bytes=one.gpu_bytes) for one in occupants if one.gpu_bytes]
    used_bytes = CONTEXT_BYTES + sum(one.bytes for one in on_gpu)
    of_gpu = make_room(needed[1], on_gpu, used_bytes=used_bytes, limit=gpu_limit, kind=" of GPU memory")
    if of_gpu.short_bytes:
        return of_gpu
    return Room(tuple(dict.fromkeys((*room.evicted, *of_gpu.evicted))))


def make_room(
    needed_bytes: int, occupants: Sequence[Occupant], *, used_bytes: int, limit: Limit, kind: str = ""
) -> Room:
    """What has to go so that so much more fits: the least lately used first, what is to be kept last.

    What is in use stays, and so does what serves. Nothing goes in vain.
    """
    left = math.inf if math.isinf(limit.amount) else int(limit.amount) - used_bytes
    idle = [one for one in occupants if not one.leases and not one.serving]
    freed, evicted = 0, list[str]()
    for one in sorted(idle, key=lambda one: (one.kept, -one.idle_s, one.name)):
        if left + freed >= needed_bytes:
            break
        freed += one.bytes
        evicted.append(one.name)
    if left + freed >= needed_bytes:
        return Room(tuple(evicted))
    return Room(
        short_bytes=math.ceil(needed_bytes - left - freed), reason=_short(needed_bytes, left, freed, limit, kind)
    )


def _short(needed_bytes: int, left: float, freed: int, limit: Limit, kind: str) -> str:
    free = shown_size(max(0, left), to=math.floor)
    told = (
        f"needs {shown_size(needed_bytes)} more{kind}, {free} are left of {shown_size(limit.amount)} ({limit.reason})"
    )
    return f"{told} and {shown_size(freed, to=math.floor)} could go" if freed else f"{told} and nothing may go for it"
