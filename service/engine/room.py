"""What is in memory and what wants to be in; what has to go for it, or why it cannot come in, out. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.engine.device import Limit
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
    """

    name: str
    bytes: int
    leases: int = 0
    idle_s: float = 0.0
    kept: bool = False
    serving: bool = False


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
    return max(manifest_bytes, (costs.idle_bytes or costs.memory_bytes) - base_bytes)


def make_room(needed_bytes: int, occupants: Sequence[Occupant], *, used_bytes: int, limit: Limit) -> Room:
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
    return Room(short_bytes=math.ceil(needed_bytes - left - freed), reason=_short(needed_bytes, left, freed, limit))


def _short(needed_bytes: int, left: float, freed: int, limit: Limit) -> str:
    free = shown_size(max(0, left), to=math.floor)
    told = f"needs {shown_size(needed_bytes)} more, {free} are left of {shown_size(limit.amount)} ({limit.reason})"
    return f"{told} and {shown_size(freed, to=math.floor)} could go" if freed else f"{told} and nothing may go for it"
