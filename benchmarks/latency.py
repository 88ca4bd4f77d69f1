"""How long does one request take, beside faster-whisper, on the same files in the same run?

python -m benchmarks.latency --data DIR --peer-python PYTHON [--models … --repeats N --pause-s S]

Files under 12 s: all systems take turns file by file, in another order each time, so that noise hits all alike. Both
get the file's bytes and decode them; the peer also a waveform that was decoded beforehand. Before each turn there is a
pause, for the peer's threads spin for 0.2 s after they are done. Then the long recordings, as multiples of real time.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks import options, peer, report
from benchmarks.local import variant
from benchmarks.peer import COMPUTE, Peer
from benchmarks.speech import LONG, Utterance
from model_store.evaluate.serving import Serving

SHORT_S = 12
"""Files under this are short: most of what is dictated."""

BATCH = 8
"""Windows a batch of the peer's batched pipeline."""

WORST = 8

Times = dict[str, dict[Utterance, float]]
"""Seconds by system and utterance, the median of the repeats."""


@dataclass
class Systems:
    """What takes turns: a name and what times one file."""

    short: dict[str, Callable[[Utterance], float]] = field(default_factory=dict)
    long: dict[str, Callable[[Utterance], float]] = field(default_factory=dict)
    stages: dict[str, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))
    versions: dict[str, str] = field(default_factory=dict)

    def add_ours(self, wren: Serving, name: str) -> None:
        def seconds(u: Utterance) -> float:
            timed = wren.transcribe(u.path.read_bytes(), name, language=u.lang)
            if u.duration_s < SHORT_S:
                self.stages[name].append(timed.served.stage_ms)
            return timed.seconds

        self.short[name] = self.long[name] = seconds

    def add_theirs(self, peer: Peer) -> None:
        self.versions = peer.versions
        self.short[peer.name] = lambda u: peer.transcribe(u.path, language=u.lang).seconds
        self.short[f"{peer.name}, decoded"] = lambda u: peer.transcribe(u.path, language=u.lang, waveform=True).seconds
        self.long[peer.name] = self.short[peer.name]
        batched = f"{peer.name}, batched"
        self.long[batched] = lambda u: peer.transcribe(u.path, language=u.lang, batch=BATCH).seconds


def opened(asked: argparse.Namespace, stack: ExitStack) -> Systems:
    systems = Systems()
    manifests = [variant(asked.store, name) for name in asked.models]
    wren = stack.enter_context(Serving(asked.store, asked.models[0], threads=asked.threads))
    for manifest in manifests:
        systems.add_ours(wren, manifest.name)
    if asked.peer_python:
        whispers = [manifest.model for manifest in manifests if manifest.family == "whisper"]
        for compute in asked.peer_precisions:
            made = Peer(asked.peer_python, whispers[0], COMPUTE[compute], threads=asked.threads)
            systems.add_theirs(stack.enter_context(made))
    return systems


def take_turns(
    systems: dict[str, Callable[[Utterance], float]], utterances: Sequence[Utterance], *, repeats: int, pause_s: float
) -> Times:
    found: dict[str, dict[Utterance, list[float]]] = {name: defaultdict(list) for name in systems}
    names = list(systems)
    for turn, u in enumerate(report.progress([u for _ in range(repeats) for u in utterances], "taking turns")):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(pause_s)
            found[name][u].append(systems[name](u))
    return {name: {u: statistics.median(all_) for u, all_ in rows.items()} for name, rows in found.items()}


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def summary(times: Times, baseline: str) -> dict[str, dict[str, float]]:
    """Median and p95 in ms; how many times as fast as the baseline: by the medians, and the median over the files."""
    base = times[baseline]
    return {
        name: {
            "median_ms": 1e3 * statistics.median(rows.values()),
            "p95_ms": 1e3 * quantile(list(rows.values()), 0.95),
            "times_as_fast": statistics.median(base.values()) / statistics.median(rows.values()),
            "times_as_fast_by_file": statistics.median(base[u] / rows[u] for u in rows),
            "least": min(base[u] / rows[u] for u in rows),
        }
        for name, rows in times.items()
    }


def show_short(times: Times, baseline: str, ours: str) -> dict[str, dict[str, float]]:
    found = summary(times, baseline)
    columns = ["", "median ms", "p95 ms", f"times as fast as {baseline}", "median by file", "worst file"]
    report.show(f"Files under {SHORT_S} s", columns, [[name, *row.values()] for name, row in found.items()])
    if baseline == ours:
        return found
    rows = sorted(times[ours], key=lambda u: times[baseline][u] / times[ours][u])[:WORST]
    columns = ["", "seconds", f"{ours} ms", f"{baseline} ms", "times as fast"]
    cells = [(u, 1e3 * times[ours][u], 1e3 * times[baseline][u]) for u in rows]
    report.show("Worst rows", columns, [[u.name, u.duration_s, mine, other, other / mine] for u, mine, other in cells])
    return found


def show_stages(stages: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    found = {
        name: {stage: statistics.median(r[stage] for r in rows) for stage in rows[0]} for name, rows in stages.items()
    }
    columns = list(next(iter(found.values())))
    report.show(
        "Where the time goes, median ms", ["", *columns], [[name, *row.values()] for name, row in found.items()]
    )
    return found


def show_long(times: Times) -> dict[str, dict[str, float]]:
    """How many seconds of audio a second."""
    found = {name: {u.path.name: u.duration_s / spent for u, spent in rows.items()} for name, rows in times.items()}
    columns = list(next(iter(found.values())))
    report.show(
        "Long recordings, times real time", ["", *columns], [[name, *row.values()] for name, row in found.items()]
    )
    return found


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument(
        "--models", nargs="+", default=["whisper-tiny.en:int8", "whisper-tiny.en:fp32", "moonshine-tiny"]
    )
    parser.add_argument("--peer-precisions", nargs="+", choices=list(COMPUTE), default=["int8"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long-repeats", type=int, default=1)
    parser.add_argument("--pause-s", type=float, default=0.25)
    peer.add_option(parser)
    asked = parser.parse_args()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    short = [u for u in utterances if u.duration_s < SHORT_S]
    long = [u for u in utterances if u.set_name == LONG]
    with ExitStack() as stack:
        systems = opened(asked, stack)
        for call in {**systems.short, **systems.long}.values():
            call(short[0])
        short_times = take_turns(systems.short, short, repeats=asked.repeats, pause_s=asked.pause_s)
        long_times = take_turns(systems.long, long, repeats=asked.long_repeats, pause_s=asked.pause_s) if long else {}
    ours = variant(asked.store, asked.models[0]).name
    baseline = next((name for name in systems.short if name.startswith("faster-whisper")), ours)
    found = {"short": show_short(short_times, baseline, ours), "stages_ms": show_stages(systems.stages)}
    if long_times:
        found["long_times_real_time"] = show_long(long_times)
    report.record(
        "latency", [*short, *long], peer=systems.versions, threads=asked.threads, repeats=asked.repeats, **found
    )


if __name__ == "__main__":
    main()
