"""Does anybody notice when the variant that serves is switched under steady load?

python -m benchmarks.switching --data DIR [--switches 50 --load 0.8 --calm-s 30]

Requests come at 80 % of what the slower variant carries (an open loop): with either variant pinned, then while the pin
goes back and forth, with both in memory, and again with the other one unloaded before each switch, so that each has to
be loaded. A request is under way in a switch if any of its time is between the order and one second after it is done.
Each text is compared with what the variant that served, as the answer's header says, makes of the recording alone.
"""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice

from benchmarks import options, report
from benchmarks.arrivals import Arrival, Clock, Phase, arrivals, open_loop
from benchmarks.clients import ask, closed_loop, rounds, summary, warm_up
from benchmarks.operating import MODEL, RUNGS, Operator
from benchmarks.servers import Server, wren
from benchmarks.speech import Utterance
from benchmarks.stretches import AFTER_S, Figures, Stretch, Switch, Texts, figures, pooled

SETS = ("libri_eval", "ljspeech")

CLIENTS = 16
"""That ask without a pause: enough to keep every core busy."""

SETTINGS = {"WREN_LADDER": ",".join(RUNGS), "WREN_IDLE_S": "-1"}

EVERY_S = 2.0
"""From one switch to the next, if it was done in time."""

GIVE_UP_S = 1800.0
"""No stretch is longer, however long switches take."""


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests a second."""

    utterances: Sequence[Utterance]
    rate: float

    def requests(self, *, seed: int, seconds: float = GIVE_UP_S) -> list[Arrival]:
        return arrivals(self.utterances, [Phase("steady", seconds, self.rate)], seed=seed)


async def alone(server: Server, utterances: Sequence[Utterance]) -> Texts:
    """The text of each variant for each recording, one request at a time, the variant named.

    Raises:
        RuntimeError: one was not answered, or by another variant.
    """
    texts: dict[tuple[str, Utterance], str] = {}
    async with server.client() as http:
        for name in (f"{MODEL}:{rung}" for rung in RUNGS):
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


async def switched(server: Server, todo: Sequence[Arrival], *, switches: int, unload: bool) -> Stretch:
    """From the slower one, back and forth; the load lasts until the last switch is over."""
    clock, end, done = Clock(), asyncio.Event(), list[Switch]()
    async with Operator(server) as operator, asyncio.TaskGroup() as tasks:
        load = tasks.create_task(open_loop(server, todo, clock=clock, end=end))
        for rung in islice(cycle(reversed(RUNGS)), switches):
            await clock.until(max(done[-1].end_s + AFTER_S, done[-1].start_s + EVERY_S) if done else EVERY_S)
            if unload:
                await operator.unload(f"{MODEL}:{rung}")
            start_s = clock.now_s()
            await operator.pin(rung)
            done.append(Switch(rung, start_s, clock.now_s()))
        await clock.until(done[-1].end_s + AFTER_S)
        end.set()
    name = "switches that load" if unload else "switches, both in memory"
    return Stretch(name, tuple(load.result()), tuple(done))


async def stretches(server: Server, load: Load, *, switches: int, calm_s: float) -> list[Stretch]:
    """The slower one alone before, between and after: whatever else the machine does is in all of them."""
    slower, quicker = RUNGS
    return [
        await calm(server, load.requests(seed=0, seconds=calm_s), slower),
        await calm(server, load.requests(seed=1, seconds=calm_s), quicker),
        await switched(server, load.requests(seed=2), switches=switches, unload=False),
        await calm(server, load.requests(seed=3, seconds=calm_s), slower),
        await switched(server, load.requests(seed=4), switches=switches, unload=True),
        await calm(server, load.requests(seed=5, seconds=calm_s), slower),
    ]


async def measured(
    server: Server, utterances: Sequence[Utterance], asked: argparse.Namespace
) -> tuple[float, dict[str, Figures]]:
    """The requests a second that came, and what came of each stretch."""
    calm_s = options.size(asked, asked.calm_s, full=30.0, trial=3.0)
    switches = int(options.size(asked, asked.switches, full=50, trial=4))
    texts = await alone(server, utterances)
    async with Operator(server) as operator:
        await operator.pin(RUNGS[0])
    rate = asked.load * await capacity(server, utterances, least_s=calm_s / 2)
    found = await stretches(server, Load(utterances, rate), switches=switches, calm_s=calm_s)
    return rate, figures(list(pooled(found)), texts, slower=f"{MODEL}:{RUNGS[0]}")


def show(found: dict[str, Figures]) -> None:
    columns = ["", "answered", "failed", "wrong texts", "p50 ms", "p95 ms", "p99 ms"]
    rows: list[list[report.Cell]] = []
    for name, one in found.items():
        times = [one.all.p50_ms, one.all.p95_ms, one.all.p99_ms]
        rows.append([name, one.all.requests, sum(one.failures.values()), one.wrong_texts, *times])
    report.show("All requests", columns, rows)
    beside = [f"/ {RUNGS[0]} alone", "/ all alone", *(f"{rung}'s / its own alone" for rung in RUNGS)]
    columns = ["", "switches", "median s", "slowest s", "requests", "p50 ms", "p99 ms", *beside]
    rows = []
    for name, one in found.items():
        if (switching := one.switching) is not None:
            ratios = [switching.by_slower, switching.by_all, *(switching.by_variant.get(f"{MODEL}:{r}") for r in RUNGS)]
            times = [switching.under_way.requests, switching.under_way.p50_ms, switching.under_way.p99_ms]
            rows.append([name, switching.switches, switching.median_s, switching.slowest_s, *times, *ratios])
    report.show("Requests under way in a switch, their p99 beside that without", columns, rows)


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    parser.add_argument("--switches", type=int, help="there and back; default: 50, without --data 4")
    parser.add_argument("--load", type=float, default=0.8, help="share of what the slower variant carries")
    parser.add_argument("--calm-s", type=float, help="of each stretch without switches; default: 30, without --data 3")
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    with wren(asked.store, MODEL, threads=asked.threads, settings=SETTINGS) as server:
        rate, found = asyncio.run(measured(server, utterances, asked))
    show(found)
    report.record(
        "switching",
        utterances,
        model=MODEL,
        rungs=RUNGS,
        threads=asked.threads,
        load=asked.load,
        requests_per_s=rate,
        figures={name: asdict(one) for name, one in found.items()},
    )


if __name__ == "__main__":
    main()
