"""Does a server under load that many clients break off stay well: no errors, memory level, nothing left behind?

python -m benchmarks.soak --data DIR [--model M --minutes 10 --clients 16 --hang-up 0.1]

A closed loop in which one request in ten is broken off at a random moment of the time that requests take: while it is
sent, while it waits, while it is in work. Meanwhile the process is watched and `/health/live` asked. What is there
before the load must be there after it and a rest, and no more.
"""

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import httpx

from benchmarks import liveness, options, report
from benchmarks.clients import SETS, Answer, Run, Summary, ask, closed_loop, rounds, summary, warm_up, wavering
from benchmarks.liveness import Liveness, Pulse
from benchmarks.local import variant
from benchmarks.servers import Server, ours
from benchmarks.speech import Utterance
from benchmarks.watching import Sample, Trend, gauges, last_half, sample, trend, watched

HUNG_UP = "hung up"
REFUSED = "429"

EVERY_S = 5.0
"""Between two looks at the process."""

REST_S = 10.0
"""After the load: uvicorn closes idle connections after 5 s."""

SETTLE_S = 1.0


class Fickle:
    """Asks as others do, but breaks off a share of its requests somewhere within the time that the last one took."""

    def __init__(self, share: float, *, usual_s: float = 1.0, seed: int = 0) -> None:
        self._share, self._usual_s, self._random = share, usual_s, random.Random(seed)

    async def __call__(self, http: httpx.AsyncClient, u: Utterance) -> Answer:
        if self._random.random() >= self._share:
            answer = await ask(http, u)
            self._usual_s = answer.seconds
            return answer
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._random.uniform(0, self._usual_s)):
                return await ask(http, u)
        except TimeoutError:
            return Answer(u, HUNG_UP, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class Soaked:
    run: Run
    samples: tuple[Sample, ...]
    before: Sample
    after: Sample
    gauges_before: dict[str, float]
    gauges_after: dict[str, float]
    pulse: Pulse

    @property
    def statuses(self) -> Counter[str]:
        return self.run.statuses

    @property
    def errors(self) -> int:
        return sum(count for status, count in self.statuses.items() if status not in ("200", HUNG_UP, REFUSED))

    @property
    def trend(self) -> Trend | None:
        """Of the last half; None if that is too short to have one."""
        half = last_half(self.samples)
        return trend(half) if len(half) > 1 else None


async def watched_load(
    server: Server, utterances: Sequence[Utterance], *, clients: int, least_s: float, share: float
) -> tuple[Run, list[Sample]]:
    samples: list[Sample] = []
    watcher = asyncio.create_task(watched(server.pid, samples, every_s=EVERY_S))
    run = await closed_loop(server, rounds(utterances, least_s=least_s), clients=clients, ask=Fickle(share))
    watcher.cancel()
    with suppress(asyncio.CancelledError):
        await watcher
    return run, samples


def soaked(server: Server, utterances: Sequence[Utterance], asked: argparse.Namespace, *, least_s: float) -> Soaked:
    asyncio.run(warm_up(server, utterances, clients=asked.clients))
    time.sleep(SETTLE_S)
    before, gauges_before = sample(server.pid), gauges(server)
    with Liveness(server) as asking:
        load = watched_load(server, utterances, clients=asked.clients, least_s=least_s, share=asked.hang_up)
        run, samples = asyncio.run(load)
    time.sleep(asked.rest_s)
    after, gauges_after = sample(server.pid), gauges(server)
    return Soaked(run, tuple(samples), before, after, gauges_before, gauges_after, asking.pulse)


def show(title: str, one: Soaked, figures: Summary) -> None:
    counts: list[list[report.Cell]] = [[status, count] for status, count in one.statuses.most_common()]
    report.show(f"{title}: answers by status", ["", "requests"], counts)
    speed = [figures.rtfx, figures.requests_per_s, figures.p50_ms, figures.p95_ms, figures.p99_ms, figures.wer]
    report.show("What was answered", ["", "RTFx", "requests/s", "p50 ms", "p95 ms", "p99 ms", "WER"], [["", *speed]])
    every = max(1, len(one.samples) // 10)
    moments = [("before", one.before), *((f"at {s.at_s:.0f} s", s) for s in one.samples[::every]), ("after", one.after)]
    rows: list[list[report.Cell]] = [
        [when, s.resident_mib, s.anonymous_mib, s.descriptors, s.threads] for when, s in moments
    ]
    report.show("The process", ["", "resident MiB", "of it anonymous", "file descriptors", "threads"], rows)
    if one.trend:
        cells: list[report.Cell] = ["last half", one.trend.mib_per_minute, one.trend.spread_mib]
        report.show("Resident memory", ["", "MiB a minute", "most less least, MiB"], [cells])
    liveness.show(one.pulse)
    changed = sorted(name for name, value in one.gauges_after.items() if value != one.gauges_before.get(name, 0))
    table: list[list[report.Cell]] = [
        [name, one.gauges_before.get(name, 0), one.gauges_after[name]] for name in changed
    ]
    if table:
        report.show("Gauges that are not what they were", ["", "before", "after"], table)


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument("--minutes", type=float, help="default: 10, without --data 0.2")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--hang-up", type=float, default=0.1, help="share of the requests that are broken off")
    parser.add_argument("--rest-s", type=float, default=REST_S)
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    minutes = options.size(asked, asked.minutes, full=10.0, trial=0.2)
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    model = variant(asked.store, asked.model)
    with ours(asked.store, model, threads=asked.threads) as server:
        found = soaked(server, utterances, asked, least_s=60 * minutes)
    figures = summary(found.run)
    show(f"{model.name}, {asked.clients} clients, {minutes:g} minutes", found, figures)
    report.record(
        "soak",
        utterances,
        model=model.name,
        threads=asked.threads,
        clients=asked.clients,
        minutes=minutes,
        statuses=found.statuses,
        errors=found.errors,
        texts_that_differ=wavering(found.run.answered),
        load=asdict(figures),
        memory=asdict(found.trend) if found.trend else None,
        resident_mib=[one.resident_mib for one in found.samples],
        before=asdict(found.before),
        after=asdict(found.after),
        gauges={"before": found.gauges_before, "after": found.gauges_after},
        live=asdict(found.pulse),
    )


if __name__ == "__main__":
    main()
