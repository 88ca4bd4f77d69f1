"""What does a server do with hundreds of clients at once, and how soon is it well again?

python -m benchmarks.crowd --data DIR [--model M --clients 500]

Each client asks once, all in the same moment: the answers by status, the time until all are out, and then until
`/health/ready` is 200 and one more request is answered. With WREN_MAX_WAITING_S below what they ask, some are refused.
"""

import argparse
import asyncio
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice

import httpx

from benchmarks import liveness, options, report
from benchmarks.clients import SETS, Run, all_at_once, summary, warm_up
from benchmarks.liveness import Liveness, Pulse
from benchmarks.local import variant
from benchmarks.servers import Server, ours
from benchmarks.speech import Utterance

SPARE_DESCRIPTORS = 100
"""Besides a connection a client."""

GIVE_UP_S = 120.0
"""No server that is well takes as long to be ready again."""

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Crowded:
    """`ready_again_s` after the last answer, None if it was not in time; `then` is the status of one more request."""

    run: Run
    ready_again_s: float | None
    then: str
    pulse: Pulse

    @property
    def faults(self) -> int:
        """Neither answered nor refused in good order."""
        return sum(count for status, count in self.run.statuses.items() if status not in ("200", "429"))


def allow_descriptors(wanted: int) -> None:
    """Raise this process's own soft limit.

    Raises:
        ValueError: the hard limit is below what is wanted.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def seconds_until_ready(server: Server) -> float | None:
    started = time.monotonic()
    with httpx.Client(base_url=server.url, timeout=GIVE_UP_S) as http:
        while time.monotonic() - started < GIVE_UP_S:
            if http.get("/health/ready").status_code == 200:
                return time.monotonic() - started
            time.sleep(POLL_S)
    return None


def crowded(server: Server, utterances: Sequence[Utterance], *, clients: int) -> Crowded:
    asyncio.run(warm_up(server, utterances))
    with Liveness(server) as asking:
        run = asyncio.run(all_at_once(server, list(islice(cycle(utterances), clients))))
        ready_again_s = seconds_until_ready(server)
    then = asyncio.run(all_at_once(server, utterances[:1]))
    return Crowded(run, ready_again_s, then.answers[0].status, asking.pulse)


def show(title: str, found: Crowded) -> None:
    rows: list[list[report.Cell]] = []
    for status, count in found.run.statuses.most_common():
        answers = [one for one in found.run.answers if one.status == status]
        waits = [max(one.seconds for one in answers), max(one.retry_after_s for one in answers)]
        rows.append([status, count, *waits])
    report.show(f"{title}: answers by status", ["", "requests", "slowest s", "longest Retry-After s"], rows)
    cells: list[report.Cell] = [found.run.wall_s, found.ready_again_s, found.then]
    report.show("Times", ["", "all answered s", "ready again s", "one more"], [["", *cells]])
    liveness.show(found.pulse)


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument("--clients", type=int, help="default: 500, without --data 50")
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    clients = int(options.size(asked, asked.clients, full=500, trial=50))
    allow_descriptors(clients + SPARE_DESCRIPTORS)
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    model = variant(asked.store, asked.model)
    with ours(asked.store, model, threads=asked.threads) as server:
        found = crowded(server, utterances, clients=clients)
    show(f"{model.name}, {clients} clients at once", found)
    report.record(
        "crowd",
        utterances,
        model=model.name,
        threads=asked.threads,
        clients=clients,
        statuses=found.run.statuses,
        faults=found.faults,
        all_answered_s=found.run.wall_s,
        ready_again_s=found.ready_again_s,
        one_more=found.then,
        load=asdict(summary(found.run)),
        live=asdict(found.pulse),
    )


if __name__ == "__main__":
    main()
