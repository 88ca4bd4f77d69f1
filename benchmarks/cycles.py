"""Does memory really return when a variant is unloaded, fifty times over?

python -m benchmarks.cycles [--cycles 50 --default moonshine-tiny:int8 --data DIR]

A server that serves another variant loads one, transcribes a recording with it and unloads it, again and again; after
each unload the resident memory of its process is read. So with fp32, with int8, and with both by turns, each on a
server of its own. The level after the fifth cycle is what the later ones are compared with.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice

from benchmarks import options, report
from benchmarks.latency import quantile
from benchmarks.memory import resident
from benchmarks.operating import MODEL, RUNGS, Operator
from benchmarks.servers import Server, wren
from benchmarks.speech import Utterance

FIRST = 5
"""Cycles until everything that stays was allocated once."""

SETTLE_S = 0.1
"""After an unload was answered."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """A load, a transcription and an unload, and MiB resident with the variant loaded and after it was unloaded."""

    variant: str
    load_s: float
    unload_s: float
    loaded_mib: float
    mib: float


@dataclass(frozen=True, slots=True)
class Level:
    """MiB after unloads: before any, after the fifth and the last, and how far any later one was off the fifth."""

    cycles: int
    before_mib: float
    fifth_mib: float
    last_mib: float
    most_off_percent: float
    loaded_mib: float
    load_s: float
    unload_s: float


async def cycled(server: Server, variants: Sequence[str], audio: bytes, *, cycles: int) -> list[Cycle]:
    async with Operator(server) as operator:
        turns = list(islice(cycle(variants), cycles))
        return [await _cycle(operator, server.pid, name, audio) for name in report.progress(turns, "cycles")]


async def _cycle(operator: Operator, pid: int, name: str, audio: bytes) -> Cycle:
    started = time.perf_counter()
    await operator.load(name)
    loaded_s = time.perf_counter() - started
    await operator.transcribe(name, audio)
    loaded_mib = resident(pid, "").resident
    started = time.perf_counter()
    await operator.unload(name)
    unloaded_s = time.perf_counter() - started
    await asyncio.sleep(SETTLE_S)
    return Cycle(name, loaded_s, unloaded_s, loaded_mib, resident(pid, "").resident)


def level(before_mib: float, found: Sequence[Cycle]) -> Level:
    """Of more cycles than are left out."""
    fifth = found[FIRST - 1].mib
    off = max(abs(one.mib - fifth) for one in found[FIRST:])
    loads, unloads = ([getattr(one, name) for one in found] for name in ("load_s", "unload_s"))
    return Level(
        len(found),
        before_mib,
        fifth,
        found[-1].mib,
        100 * off / fifth,
        quantile([one.loaded_mib for one in found], 0.5),
        quantile(loads, 0.5),
        quantile(unloads, 0.5),
    )


def measured(
    asked: argparse.Namespace, variants: Sequence[str], u: Utterance, *, cycles: int
) -> tuple[Level, list[Cycle]]:
    with wren(asked.store, asked.default, threads=asked.threads) as server:
        before_mib = resident(server.pid, "").resident
        found = asyncio.run(cycled(server, variants, u.path.read_bytes(), cycles=cycles))
    return level(before_mib, found), found


def show(found: dict[str, Level], default: str) -> None:
    columns = [
        "",
        "cycles",
        "before",
        "after 5",
        "after the last",
        "most off the 5th, %",
        "loaded",
        "load s",
        "unload s",
    ]
    rows = [[name, *asdict(one).values()] for name, one in found.items()]
    report.show(f"MiB resident after unloads, beside {default}", columns, rows)


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=("libri_eval",))
    parser.add_argument("--cycles", type=int, help=f"more than {FIRST}; default: 50, without --data {FIRST + 1}")
    parser.add_argument("--default", default="moonshine-tiny:int8", help="what the server serves meanwhile")
    asked = parser.parse_args()
    asked.cycles = int(options.size(asked, asked.cycles, full=50, trial=FIRST + 1))
    if asked.cycles <= FIRST:
        parser.error(f"--cycles: more than {FIRST}")
    return asked


def main() -> None:
    asked = parsed()
    u = next(u for u in options.utterances(asked) if u.lang == "en")
    names = [f"{MODEL}:{rung}" for rung in RUNGS]
    series = {**{name: [name] for name in names}, "by turns": names}
    found = {title: measured(asked, variants, u, cycles=asked.cycles) for title, variants in series.items()}
    show({title: one for title, (one, _) in found.items()}, asked.default)
    report.record(
        "cycles",
        [u],
        default=asked.default,
        threads=asked.threads,
        figures={title: asdict(one) for title, (one, _) in found.items()},
        mib={title: [one.mib for one in cycles] for title, (_, cycles) in found.items()},
    )


if __name__ == "__main__":
    main()
