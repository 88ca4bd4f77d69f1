"""What does a server answer to damaged files, how soon, and does it grow?

python -m benchmarks.hostile [--count N --containers wav mp3 …]

Speech in every container that the tests know, cut, flipped, zeroed and given headers that lie, posted one after another
to one server process. Each must be answered 200 or 4xx. The first damaged files of each container are answered before
the server is weighed: what the libraries allocate once is not growth.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks import options, report
from benchmarks.local import variant
from benchmarks.memory import SETTLE_S, resident
from tests.audio.clips import CONTAINERS
from tests.audio.mutations import mutations
from tests.live import LiveServer, wren_serve

WARM_UP = 10
"""Damaged files of each container before the server is weighed."""

CLIP_S = 1.0

HANG_S = 30


@dataclass
class Answers:
    """What came of the files of one container."""

    container: str
    statuses: Counter[str]
    codes: Counter[str]
    slowest_s: float = 0.0
    grown_mib: float = 0.0

    @property
    def wrong(self) -> int:
        """Neither 200 nor a 4xx with an error object."""
        return sum(count for status, count in self.statuses.items() if status[0] not in "24")


def post(client: httpx.Client, answers: Answers, audio: bytes) -> None:
    started = time.perf_counter()
    try:
        answer = client.post("/v1/audio/transcriptions", data={"model": "auto"}, files={"file": ("clip", audio)})
    except httpx.HTTPError as error:
        answers.statuses[type(error).__name__] += 1
    else:
        answers.statuses[str(answer.status_code)] += 1
        if answer.status_code != 200:
            answers.codes[str(answer.json()["error"]["code"])] += 1
    answers.slowest_s = max(answers.slowest_s, time.perf_counter() - started)


def answered(server: LiveServer, container: str, count: int, *, seed: int) -> Answers:
    answers = Answers(container, Counter(), Counter())
    before = resident(server.pid, "")
    with server.client() as client:
        client.timeout = HANG_S
        for audio in mutations(CONTAINERS[container](CLIP_S), count=count, seed=seed):
            post(client, answers, audio)
    answers.grown_mib = resident(server.pid, "").resident - before.resident
    return answers


def show(found: Sequence[Answers]) -> None:
    statuses = sorted({status for one in found for status in one.statuses})
    columns = ["", *statuses, "slowest ms", "grown MiB", "codes"]
    rows: list[list[report.Cell]] = []
    for one in found:
        codes = ", ".join(f"{code} {count}" for code, count in one.codes.most_common())
        counts = [one.statuses[status] or None for status in statuses]
        rows.append([one.container, *counts, round(1e3 * one.slowest_s), one.grown_mib, codes])
    report.show("Answers by status", columns, rows)


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument("--count", type=int, default=200, help="damaged files of each container")
    parser.add_argument("--containers", nargs="+", choices=list(CONTAINERS), default=list(CONTAINERS), metavar="NAME")
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    model = variant(asked.store, asked.model).name
    settings = {"WREN_STORE": str(asked.store), "WREN_MODEL": model, "WREN_THREADS": str(asked.threads)}
    with TemporaryDirectory() as folder, wren_serve(Path(folder) / "log", settings) as server:
        for name in asked.containers:
            answered(server, name, WARM_UP, seed=0)
        before = resident(server.pid, "before")
        found = [answered(server, name, asked.count, seed=1) for name in report.progress(asked.containers, "posting")]
        time.sleep(SETTLE_S)
        after = resident(server.pid, "after")
    show(found)
    rows = [(one.when, one.resident, one.anonymous, one.most) for one in (before, after)]
    report.show("The server's memory, MiB", ["", "resident", "anonymous", "most so far"], rows)
    slowest = max(found, key=lambda one: one.slowest_s)
    report.record(
        "hostile",
        model=model,
        count=asked.count,
        statuses=sum((one.statuses for one in found), Counter[str]()),
        wrong=sum(one.wrong for one in found),
        slowest_ms={slowest.container: 1e3 * slowest.slowest_s},
        resident_mib={"before": before.resident, "after": after.resident, "most": after.most},
    )


if __name__ == "__main__":
    main()
