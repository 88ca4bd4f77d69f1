"""How much memory does a server with one variant take, at rest and after work?

python -m benchmarks.memory --data DIR [--model M --requests N --peer-python PYTHON]

A real server process: resident once it is ready, after many short requests, after the long recordings, and the most it
ever was. Beside it the peer's process, a model loaded and nothing around it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import options, peer, report
from benchmarks.local import variant
from benchmarks.peer import COMPUTE, Peer
from benchmarks.speech import LONG, Utterance
from tests.live import LiveServer, wren_serve

SETTLE_S = 1.0
"""After the last answer, until what was freed is given back."""


@dataclass(frozen=True)
class Resident:
    """MiB; `anonymous` leaves out what the system can read again from files."""

    when: str
    resident: float
    anonymous: float
    most: float


def resident(pid: int, when: str) -> Resident:
    """From /proc/PID/status."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    mib = {name: int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon", "VmHWM")}
    return Resident(when, mib["VmRSS"], mib["RssAnon"], mib["VmHWM"])


def post(server: LiveServer, utterances: Sequence[Utterance]) -> None:
    with server.client() as client:
        client.timeout = 1800
        for u in report.progress(utterances, "requests"):
            files = {"file": (u.path.name, u.path.read_bytes())}
            client.post("/v1/audio/transcriptions", data={"model": "auto"}, files=files).raise_for_status()


def measured(
    server: LiveServer, short: Sequence[Utterance], long: Sequence[Utterance], count: int
) -> Iterator[Resident]:
    yield resident(server.pid, "ready")
    post(server, list(islice(cycle(short), count)))
    time.sleep(SETTLE_S)
    yield resident(server.pid, f"after {count} requests")
    for u in long:
        post(server, [u])
        time.sleep(SETTLE_S)
        yield resident(server.pid, f"after {u.duration_s / 60:.0f} minutes of audio in one file")


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument("--requests", type=int, default=200)
    peer.add_option(parser)
    asked = parser.parse_args()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    short, long = ([u for u in utterances if (u.set_name == LONG) == wanted] for wanted in (False, True))
    model = variant(asked.store, asked.model)
    settings = {"WREN_STORE": str(asked.store), "WREN_MODEL": model.name, "WREN_THREADS": str(asked.threads)}
    with TemporaryDirectory() as folder, wren_serve(Path(folder) / "log", settings) as server:
        rows = list(measured(server, short, long, asked.requests))
    cells: list[list[report.Cell]] = [[one.when, one.resident, one.anonymous, one.most] for one in rows]
    if asked.peer_python:
        with Peer(asked.peer_python, model.model, COMPUTE[model.precision], threads=asked.threads) as other:
            cells.append([f"{other.name}, loaded", other.resident_mib, None, None])
            cells.append(["its first answer", other.transcribe(short[0].path, language="en").resident_mib, None, None])
    report.show(f"{model.name}, MiB", ["", "resident", "anonymous", "most so far"], cells)
    report.record(
        "memory", utterances, model=model.name, threads=asked.threads, mib={str(row[0]): row[1:] for row in cells}
    )


if __name__ == "__main__":
    main()
