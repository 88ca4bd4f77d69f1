"""A running server in; what its variants hold of GPUs and of memory, before and after they are unloaded, out."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.memory import resident
from benchmarks.operating import Operator
from service.engine.gpu import read_gpus


@dataclass(frozen=True, slots=True)
class Held:
    """In MB.

    Attributes:
        weights_mb: on GPUs, as `GET /v1/models` tells of all variants in memory together.
        cards_mb: taken of the GPUs by whatever process, as nvidia-smi tells; None without a GPU.
        resident_mb: of the server's process.
    """

    weights_mb: float
    cards_mb: float | None
    resident_mb: float


@dataclass(frozen=True, slots=True)
class Unload:
    """What was held just before a variant was unloaded, and once the order was carried out."""

    variant: str
    before: Held
    after: Held


@dataclass(frozen=True, slots=True)
class Returned:
    """Of all unloads of a variant: medians, and what was held after the first and after the last."""

    unloads: int
    weights_before_mb: float
    weights_after_mb: float
    cards_before_mb: float | None
    cards_after_mb: float | None
    cards_first_mb: float | None
    cards_last_mb: float | None
    resident_first_mb: float
    resident_last_mb: float


async def held(operator: Operator, pid: int) -> Held:
    """Now. The driver's tool takes its time, in a thread of its own: others are served meanwhile."""
    cards = await asyncio.to_thread(taken_mb)
    return Held(await operator.gpu_bytes() / 1e6, cards, resident(pid, "").resident * 2**20 / 1e6)


def taken_mb() -> float | None:
    gpus = read_gpus(os.environ.get("WREN_DEVICE", "auto")).gpus
    return sum(gpu.memory_bytes - gpu.free_bytes for gpu in gpus) / 1e6 if gpus else None


async def unloaded(operator: Operator, pid: int, name: str) -> Unload:
    """Unload it, in the midst of work."""
    before = await held(operator, pid)
    await operator.unload(name)
    return Unload(name, before, await held(operator, pid))


def returned(unloads: Sequence[Unload]) -> dict[str, Returned]:
    """By variant."""
    by: Mapping[str, list[Unload]] = {one.variant: [] for one in unloads}
    for one in unloads:
        by[one.variant].append(one)
    return {name: _returned(of) for name, of in by.items()}


def _returned(of: Sequence[Unload]) -> Returned:
    first, last = of[0].after, of[-1].after
    return Returned(
        len(of),
        median(one.before.weights_mb for one in of),
        median(one.after.weights_mb for one in of),
        _median([one.before.cards_mb for one in of]),
        _median([one.after.cards_mb for one in of]),
        first.cards_mb,
        last.cards_mb,
        first.resident_mb,
        last.resident_mb,
    )


def _median(found: Sequence[float | None]) -> float | None:
    known = [one for one in found if one is not None]
    return median(known) if known else None
