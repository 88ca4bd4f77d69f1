"""Does every accepted job finish, once and with the same text, though its server is killed again and again?

python -m benchmarks.jobs_killed --data DIR [--model M --kills 30 --longest 8 --seed 8]

One server recognises each recording undisturbed. Another one, with jobs of its own, is killed (SIGKILL) at random
moments and started again; while few jobs are left another is handed in, whose upload may be hit too, and then it is
handed in again under the same Idempotency-Key. In the end all must be there: completed, one for each key, with the very
text.
"""

import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks import options, report
from benchmarks.speech import LONG
from tests.live import LiveServer, wren_serve

WAIT_S = 900.0
"""As long as all jobs may take in the end."""

LOOK_S = 0.1

FEW = 4
"""Jobs that are left, below which there are others: some run whenever the server dies."""

AT_ONCE = 2

SHORT = 20
"""Recordings of a few seconds, beside the long ones: theirs are the moments around the end of a job."""

_BEGUN = re.compile(r"job (job_\w+) of \S+ begins at window (\d+)")
_COMPLETED = re.compile(r"job (job_\w+) completed")


@dataclass(slots=True)
class Outcome:
    """What became of the jobs."""

    kills: int = 0
    keys: int = 0
    again: int = 0
    """Uploads that a kill cut off."""
    jobs: int = 0
    completed: int = 0
    same_text: int = 0
    begun: int = 0
    resumed: int = 0
    """Of those begun, behind a window that was kept."""
    completed_twice: int = 0
    windows: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        return self.keys == self.jobs == self.completed == self.same_text and not self.completed_twice


@dataclass
class Shop:
    """A folder of jobs that outlives its servers."""

    folder: Path
    model: str
    store: Path
    logs: list[Path] = field(default_factory=list)

    @contextmanager
    def server(self) -> Iterator[LiveServer]:
        self.logs.append(self.folder / f"log{len(self.logs)}")
        settings = {"WREN_MODEL": self.model, "WREN_JOBS_FOLDER": str(self.folder / "jobs")}
        settings["WREN_JOBS_PARALLEL"] = str(AT_ONCE)
        with wren_serve(self.logs[-1], {"WREN_STORE": str(self.store.absolute()), **settings}) as server:
            yield server

    def log(self) -> str:
        return "\n".join(path.read_text() for path in self.logs)


def hand_in(client: httpx.Client, path: Path, key: str) -> str | None:
    """The id of the job, None if the server went away meanwhile."""
    try:
        with path.open("rb") as file:
            headers = {"Idempotency-Key": key}
            answer = client.post("/v1/jobs", files={"file": file}, data={"model": "auto"}, headers=headers)
    except httpx.TransportError:
        return None
    answer.raise_for_status()
    return str(answer.json()["id"])


def wait(client: httpx.Client, ids: Sequence[str]) -> None:
    """Until all have ended."""
    deadline_s = time.monotonic() + WAIT_S
    for job_id in ids:
        while client.get(f"/v1/jobs/{job_id}").json()["ended_at"] is None:
            assert time.monotonic() < deadline_s, f"{job_id} does not end"
            time.sleep(LOOK_S)


def text_of(client: httpx.Client, job_id: str) -> str:
    """All that is told of it, so that times and probabilities count too."""
    return client.get(f"/v1/jobs/{job_id}/result?response_format=verbose_json").text


def undisturbed(shop: Shop, paths: Sequence[Path]) -> dict[Path, str]:
    with shop.server() as server, server.client() as client:
        ids = {path: hand_in(client, path, path.name) or "" for path in paths}
        wait(client, list(ids.values()))
        return {path: text_of(client, job_id) for path, job_id in ids.items()}


def disturbed(
    shop: Shop, paths: Sequence[Path], *, kills: int, longest_s: float, seed: int
) -> tuple[dict[str, Path], int]:
    """The recording of each key, and how many uploads were cut off."""
    draw, keys, pending, again = random.Random(seed), dict[str, Path](), list[str](), 0
    for number in range(kills):
        with shop.server() as server, server.client() as client:
            death = threading.Timer(draw.uniform(0.05, longest_s), os.kill, (server.pid, signal.SIGKILL))
            death.start()
            for more in range(FEW - len(pending) - _left(client)):
                keys[f"key-{number}-{more}"] = draw.choice(paths)
                pending.append(f"key-{number}-{more}")
            pending = [key for key in pending if hand_in(client, keys[key], key) is None]
            again += len(pending)
            death.join()
    with shop.server() as server, server.client() as client:
        for key in pending:
            assert hand_in(client, keys[key], key), "the last server is not killed"
    return keys, again


def measured(
    folder: Path, paths: Sequence[Path], *, model: str, store: Path, kills: int, longest_s: float, seed: int
) -> Outcome:
    """Both servers, one after the other, and what came of it."""
    for name in ("calm", "rough"):
        (folder / name).mkdir()
    expected = undisturbed(Shop(folder / "calm", model, store), paths)
    began_s, shop = time.monotonic(), Shop(folder / "rough", model, store)
    keys, again = disturbed(shop, paths, kills=kills, longest_s=longest_s, seed=seed)
    outcome = Outcome(kills=kills, keys=len(keys), again=again)
    with shop.server() as server, server.client() as client:
        ids = {key: hand_in(client, path, key) or "" for key, path in keys.items()}
        wait(client, list(ids.values()))
        outcome.seconds = time.monotonic() - began_s
        outcome.jobs = _count(client)
        for key, job_id in ids.items():
            job = client.get(f"/v1/jobs/{job_id}").json()
            outcome.completed += job["status"] == "completed"
            outcome.windows += job["progress"]["windows_done"]
            same = job["status"] == "completed" and text_of(client, job_id) == expected[keys[key]]
            outcome.same_text += same
            if not same:
                outcome.problems.append(f"{job_id} ({keys[key].name}): {job['status']} {job['error']}")
    begun = _BEGUN.findall(shop.log())
    outcome.begun, outcome.resumed = len(begun), sum(window != "0" for _, window in begun)
    outcome.completed_twice = sum(count > 1 for count in Counter(_COMPLETED.findall(shop.log())).values())
    return outcome


def _left(client: httpx.Client) -> int:
    """Jobs that have not ended; none if the server went away meanwhile."""
    try:
        jobs = client.get("/v1/jobs?limit=100").json()["data"]
    except httpx.TransportError:
        return FEW
    return sum(job["ended_at"] is None for job in jobs)


def _count(client: httpx.Client) -> int:
    page, count, after = {"has_more": True}, 0, ""
    while page["has_more"]:
        page = client.get(f"/v1/jobs?limit=100{after}").json()
        count += len(page["data"])
        after = f"&after={page['data'][-1]['id']}" if page["data"] else ""
    return count


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--longest", type=float, default=8.0, help="seconds that a server lives at most")
    parser.add_argument("--seed", type=int, default=8)
    asked = parser.parse_args()
    found = options.utterances(asked)
    long, short = ([u for u in found if (u.set_name == LONG) is wanted] for wanted in (True, False))
    utterances = long + random.Random(asked.seed).sample(short, min(SHORT, len(short)))
    paths = [u.path for u in utterances]
    kills = int(options.size(asked, asked.kills, full=30, trial=3))
    with TemporaryDirectory() as folder:
        outcome = measured(
            Path(folder),
            paths,
            model=asked.model,
            store=asked.store,
            kills=kills,
            longest_s=asked.longest,
            seed=asked.seed,
        )
    report.show(
        f"{kills} kills, {len(paths)} recordings, {asked.model}",
        ("", "count"),
        [(name.replace("_", " "), value) for name, value in asdict(outcome).items() if name != "problems"],
    )
    for problem in outcome.problems:
        print(problem)
    report.record("jobs_killed", utterances, model=asked.model, **asdict(outcome))
    if not outcome.well:
        raise SystemExit("a job was lost, doubled or changed")


if __name__ == "__main__":
    main()
