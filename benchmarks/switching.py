"""Does anybody notice when the variant that serves is switched under steady load?

python -m benchmarks.switching --data DIR [--switches 50 --load 0.8 --calm-s 30 --rungs fp16-torch int8-torch]

Requests come at 80 % of what the slower variant carries (an open loop): with either variant pinned, then while the pin
goes back and forth, with both in memory, and again with the other one unloaded before each switch, so that each has to
be loaded. A request is under way in a switch if any of its time is between the order and one second after it is done.
Each text is compared with what the variant that served, as the answer's header says, makes of the recording alone.
What is held of the memory, and of GPUs, is read before and after each unload.
"""

import argparse
import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice

from benchmarks import options, report
from benchmarks.arrivals import Arrival, Clock, Phase, arrivals, open_loop
from benchmarks.clients import ask, closed_loop, rounds, summary, warm_up
from benchmarks.held import Returned, Unload, returned, unloaded
from benchmarks.operating import MODEL, RUNGS, Operator
from benchmarks.servers import Server, wren
from benchmarks.speech import Utterance
from benchmarks.stretches import AFTER_S, Figures, Stretch, Switch, Texts, figures, pooled

SETS = ("libri_eval", "ljspeech")

CLIENTS = 16
"""That ask without a pause: enough to keep every core busy."""

EVERY_S = 2.0
"""From one switch to the next, if it was done in time."""

GIVE_UP_S = 1800.0
"""No stretch is longer, however long switches take."""

Rungs = tuple[str, ...]
"""Two variants; once they are measured, the slower one first."""


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests a second."""

    utterances: Sequence[Utterance]
    rate: float

    def requests(self, *, seed: int, seconds: float = GIVE_UP_S) -> list[Arrival]:
        return arrivals(self.utterances, [Phase("steady", seconds, self.rate)], seed=seed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The requests a second that came, what came of each stretch, and what unloads gave back."""

    slower: str
    devices: dict[str, str]
    rate: float
    figures: dict[str, Figures]
    unloads: dict[str, Returned]


async def alone(server: Server, utterances: Sequence[Utterance], rungs: Rungs) -> Texts:
    """The text of each variant for each recording, one request at a time, the variant named.

    Raises:
        RuntimeError: one was not answered, or by another variant.
    """
    texts: dict[tuple[str, Utterance], str] = {}
    async with server.client() as http:
        for name in (f"{MODEL}:{rung}" for rung in rungs):
            for u in utterances:
                answer = await ask(http, u, model=name)
                if (answer.status, answer.variant) != ("200", name):
                    raise RuntimeError(f"{u.name} by {name}: {answer.status} by {answer.variant or 'nobody'}")
                texts[name, u] = answer.text
    return texts


async def capacity(server: Server, utterances: Sequence[Utterance], *, least_s: float) -> float:
    """Requests a second that the variant which serves answers, if clients ask without a pause."""
    await warm_up(server, utterances, clients=CLIENTS)
    return summary(await closed_loop(server, rounds(utterances, least_s=least_s), clients=CLIENTS)).requests_per_s


async def calm(server: Server, todo: Sequence[Arrival], rung: str) -> Stretch:
    async with Operator(server) as operator:
        await operator.pin(rung)
    return Stretch(f"{rung} alone", tuple(await open_loop(server, todo, clock=Clock())))


async def switched(
    server: Server, todo: Sequence[Arrival], rungs: Rungs, *, switches: int, unload: bool
) -> tuple[Stretch, list[Unload]]:
    """From the slower one, back and forth; the load lasts until the last switch is over."""
    clock, end, done, unloads = Clock(), asyncio.Event(), list[Switch](), list[Unload]()
    async with Operator(server) as operator, asyncio.TaskGroup() as tasks:
        load = tasks.create_task(open_loop(server, todo, clock=clock, end=end))
        for rung in islice(cycle(reversed(rungs)), switches):
            await clock.until(max(done[-1].end_s + AFTER_S, done[-1].start_s + EVERY_S) if done else EVERY_S)
            if unload:
                unloads.append(await unloaded(operator, server.pid, f"{MODEL}:{rung}"))
            start_s = clock.now_s()
            await operator.pin(rung)
            done.append(Switch(rung, start_s, clock.now_s()))
        await clock.until(done[-1].end_s + AFTER_S)
        end.set()
    name = "switches that load" if unload else "switches, both in memory"
    return Stretch(name, tuple(load.result()), tuple(done)), unloads


async def stretches(
    server: Server, load: Load, rungs: Rungs, *, switches: int, calm_s: float
) -> tuple[list[Stretch], list[Unload]]:
    """The slower one alone before, between and after: whatever else the machine does is in all of them."""
    slower, quicker = rungs
    found = [await calm(server, load.requests(seed=0, seconds=calm_s), slower)]
    found.append(await calm(server, load.requests(seed=1, seconds=calm_s), quicker))
    both, _ = await switched(server, load.requests(seed=2), rungs, switches=switches, unload=False)
    found += [both, await calm(server, load.requests(seed=3, seconds=calm_s), slower)]
    loading, unloads = await switched(server, load.requests(seed=4), rungs, switches=switches, unload=True)
    found += [loading, await calm(server, load.requests(seed=5, seconds=calm_s), slower)]
    return found, unloads


async def by_speed(
    server: Server, utterances: Sequence[Utterance], rungs: Rungs, *, least_s: float
) -> tuple[Rungs, float]:
    """The rungs, the slower one first, and the requests a second that it answers."""
    rates: dict[str, float] = {}
    async with Operator(server) as operator:
        for rung in rungs:
            await operator.pin(rung)
            rates[rung] = await capacity(server, utterances, least_s=least_s)
    return tuple(sorted(rungs, key=rates.__getitem__)), min(rates.values())


async def measured(server: Server, utterances: Sequence[Utterance], asked: argparse.Namespace) -> Outcome:
    calm_s = options.size(asked, asked.calm_s, full=30.0, trial=3.0)
    switches = int(options.size(asked, asked.switches, full=50, trial=4))
    texts = await alone(server, utterances, asked.rungs)
    rungs, most = await by_speed(server, utterances, asked.rungs, least_s=calm_s / 2)
    load = Load(utterances, asked.load * most)
    found, unloads = await stretches(server, load, rungs, switches=switches, calm_s=calm_s)
    told = figures(list(pooled(found)), texts, slower=f"{MODEL}:{rungs[0]}")
    async with Operator(server) as operator:
        devices = await operator.devices()
    return Outcome(rungs[0], devices, load.rate, told, returned(unloads))


def show(found: Outcome, rungs: Rungs) -> None:
    columns = ["", "answered", "failed", "wrong texts", "p50 ms", "p95 ms", "p99 ms"]
    rows: list[list[report.Cell]] = []
    for name, one in found.figures.items():
        times = [one.all.p50_ms, one.all.p95_ms, one.all.p99_ms]
        rows.append([name, one.all.requests, sum(one.failures.values()), one.wrong_texts, *times])
    report.show(f"All requests, on {', '.join(sorted(set(found.devices.values())))}", columns, rows)
    beside = [f"/ {found.slower}", "/ all", *(f"{rung}'s / its own" for rung in rungs)]
    columns = ["", "times", "median s", "slowest", "requests", "p50 ms", "p99 ms", *beside]
    rows = []
    for name, one in found.figures.items():
        if (switching := one.switching) is not None:
            ratios = [switching.by_slower, switching.by_all, *(switching.by_variant.get(f"{MODEL}:{r}") for r in rungs)]
            times = [switching.under_way.requests, switching.under_way.p50_ms, switching.under_way.p99_ms]
            rows.append([name, switching.switches, switching.median_s, switching.slowest_s, *times, *ratios])
    report.show("Requests under way in a switch, their p99 beside that of stretches without", columns, rows)


def show_unloads(found: dict[str, Returned]) -> None:
    columns = ["", "unloads", "weights before", "after", "GPUs before", "after", "after the first", "the last"]
    columns += ["resident after the first", "the last"]
    title = "MB held when a variant is unloaded: weights on GPUs, all that is taken of GPUs, the process"
    report.show(title, columns, [[name, *asdict(one).values()] for name, one in found.items()])


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    ladder = tuple(filter(None, os.environ.get("WREN_LADDER", "").split(","))) or RUNGS
    told = f"two variants of {MODEL} [WREN_LADDER, else {' '.join(RUNGS)}]"
    parser.add_argument("--rungs", nargs=2, default=ladder, help=told)
    options.add_device(parser)
    parser.add_argument("--switches", type=int, help="there and back; default: 50, without --data 4")
    parser.add_argument("--load", type=float, default=0.8, help="share of what the slower variant carries")
    parser.add_argument("--calm-s", type=float, help="of each stretch without switches; default: 30, without --data 3")
    asked = parser.parse_args()
    asked.rungs = tuple(asked.rungs)
    if len(asked.rungs) != 2:
        parser.error(f"WREN_LADDER: two variants are switched between, and not {len(asked.rungs)}")
    return asked


def main() -> None:
    asked = parsed()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    settings = {"WREN_LADDER": ",".join(asked.rungs), "WREN_IDLE_S": "-1"}
    with wren(asked.store, MODEL, threads=asked.threads, settings=settings) as server:
        found = asyncio.run(measured(server, utterances, asked))
    show(found, asked.rungs)
    show_unloads(found.unloads)
    report.record(
        "switching",
        utterances,
        model=MODEL,
        rungs=asked.rungs,
        slower=found.slower,
        devices=found.devices,
        threads=asked.threads,
        load=asked.load,
        requests_per_s=found.rate,
        figures={name: asdict(one) for name, one in found.figures.items()},
        unloads={name: asdict(one) for name, one in found.unloads.items()},
    )


if __name__ == "__main__":
    main()
