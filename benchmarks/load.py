"""How much does a server answer, and how soon, when clients ask without a pause, beside faster-whisper-server?

python -m benchmarks.load --data DIR --peer-python PYTHON [--models … --clients 1 16 --repeats N --least-s S]

Real server processes with the same weights and the same number of threads. They take turns, the others idle meanwhile;
in a turn the recordings are gone through as often as a whole number of times until `--least-s` have passed. Figures are
medians of the turns.
"""

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict

from benchmarks import options, report
from benchmarks.clients import SETS, Summary, closed_loop, median, rounds, summary, warm_up
from benchmarks.operating import Operator
from benchmarks.servers import Server, add_peer_options, opened, peer_versions
from benchmarks.speech import Utterance

PAUSE_S = 1.0
"""Before a turn: the peer's threads spin for 0.2 s after they are done."""

Turns = dict[tuple[int, str], list[Summary]]
"""By the number of clients and the server's name."""


def take_turns(
    servers: Sequence[Server], utterances: Sequence[Utterance], clients: Sequence[int], *, repeats: int, least_s: float
) -> Turns:
    found: Turns = defaultdict(list)
    turns = [(server, count) for _ in range(repeats) for count in clients for server in servers]
    for server, count in report.progress(turns, "taking turns"):
        time.sleep(PAUSE_S)
        todo = rounds(utterances, least_s=least_s)
        found[count, server.name].append(summary(asyncio.run(closed_loop(server, todo, clients=count))))
    return dict(found)


def compared(ours: Summary, theirs: Summary) -> dict[str, float]:
    """What is asked of us: many times their throughput, and nearly all of our answers sooner than half of theirs."""
    return {"times_the_throughput": ours.rtfx / theirs.rtfx, "p95_by_their_p50": ours.p95_ms / theirs.p50_ms}


def figures(turns: Turns, baseline: str | None) -> dict[str, dict[str, dict[str, object]]]:
    """By clients and server; beside the baseline how it compares."""
    found: dict[str, dict[str, dict[str, object]]] = defaultdict(dict)
    middle = {key: median(summaries) for key, summaries in turns.items()}
    for (count, name), one in middle.items():
        spread = [each.rtfx for each in turns[count, name]]
        beside = compared(one, middle[count, baseline]) if baseline else {}
        found[str(count)][name] = {**asdict(one), "rtfx_of_turns": spread, **beside}
    return dict(found)


def show(turns: Turns, baseline: str | None) -> None:
    columns = ["", "RTFx", "requests/s", "p50 ms", "p95 ms", "p99 ms", "WER", "failures"]
    if baseline:
        columns += ["times its throughput", "p95 / its p50"]
    for count in sorted({count for count, _ in turns}):
        rows: list[list[report.Cell]] = []
        for name, one in ((name, median(found)) for (of, name), found in turns.items() if of == count):
            times = [one.rtfx, one.requests_per_s, one.p50_ms, one.p95_ms, one.p99_ms, one.wer]
            beside = compared(one, median(turns[count, baseline])).values() if baseline else ()
            rows.append([name, *times, sum(one.failures.values()), *beside])
        report.show(f"Clients: {count}" + (f", beside {baseline}" if baseline else ""), columns, rows)


async def devices(server: Server) -> dict[str, str]:
    """Where its variants compute."""
    async with Operator(server) as operator:
        return await operator.devices()


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    parser.add_argument("--models", nargs="+", default=["whisper-tiny.en:int8"])
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--least-s", type=float, help="seconds of a turn at least; default: 15, without --data 2")
    options.add_device(parser)
    add_peer_options(parser)
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    least_s = options.size(asked, asked.least_s, full=15.0, trial=2.0)
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    with ExitStack() as stack:
        servers = opened(asked, stack)
        for server in servers:
            asyncio.run(warm_up(server, utterances))
        turns = take_turns(servers, utterances, asked.clients, repeats=asked.repeats, least_s=least_s)
        baseline = next((one.name for one in servers if one.name.startswith("faster-whisper")), None)
        found = [asyncio.run(devices(one)) for one in servers if one.name != baseline]
    show(turns, baseline)
    report.record(
        "load",
        utterances,
        devices={name: at for one in found for name, at in one.items()},
        peer=peer_versions(asked.peer_python) if baseline else {},
        threads=asked.threads,
        repeats=asked.repeats,
        least_s=least_s,
        figures=figures(turns, baseline),
    )


if __name__ == "__main__":
    main()
