"""Does any damaged input crash the server's parsers, hang them, or make them grow?

python -m benchmarks.fuzz [--minutes M --seed N --only WORD]

Every way in for a stranger's bytes: the decoders of each container, for files and for live streams, and the parsers of
bodies, options and messages. Good inputs are cut, flipped, repeated, given headers that lie and words of their own
grammar in the wrong places. Each way in is a process: one that dies is started again behind the input that killed it.
The inputs are the same for the same seed; `benchmarks.fuzzing` feeds one of them alone. What lies in memory is
compared with what did after the first fifth of the time.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import options, report
from benchmarks.fuzzed import entries
from benchmarks.fuzzing import HANG_S, Outcome

MOST_RESTARTS = 5
"""Of one way in: who dies that often has told enough."""

_ENDING_S = 60.0


def fuzzed(name: str, store: Path, *, seconds: float, seed: int) -> Outcome:
    """All that came of one way in."""
    total, first, deadline_s = Outcome(name), 0, time.monotonic() + seconds
    with TemporaryDirectory() as folder:
        place = Path(folder) / "number"
        for _ in range(MOST_RESTARTS):
            left_s = deadline_s - time.monotonic()
            command = [sys.executable, "-m", "benchmarks.fuzzing", name, str(left_s), str(seed), str(first)]
            child = subprocess.run(
                [*command, str(place), str(store)],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                check=False,
                timeout=max(0.0, left_s) + HANG_S + _ENDING_S,
            )
            if child.returncode == 0:
                return total.plus(Outcome.read(child.stdout))
            first = int(place.read_text()) + 1 if place.exists() else 0
            total = total.plus(_death(name, child, number=first - 1, before=total.inputs))
            if deadline_s - time.monotonic() < 1:
                break
    return total


def _death(name: str, child: "subprocess.CompletedProcess[str]", *, number: int, before: int) -> Outcome:
    hang = "Timeout (" in child.stderr
    what = f"{'hang' if hang else 'crash'} (exit {child.returncode}) at input {number}: {child.stderr[-2000:]}"
    return Outcome(name, inputs=number + 1 - before, crashes=int(not hang), hangs=int(hang), found=[what])


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="ways in whose name has this word")
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    names = [name for name in entries(asked.store) if asked.only in name]
    each_s = 60 * asked.minutes / len(names)
    found = [fuzzed(name, asked.store, seconds=each_s, seed=asked.seed) for name in report.progress(names, "fuzzing")]
    columns = ["", "inputs", "per s", "refused", "faults", "crashes", "hangs", "slowest ms", "grown MiB", "grown fds"]
    report.show("Damaged inputs of each way in", columns, [one.row() for one in found])
    for one in found:
        for what in one.found:
            print(f"{one.name}: {what}\n")
    report.record(
        "fuzz",
        seed=asked.seed,
        minutes=asked.minutes,
        inputs=sum(one.inputs for one in found),
        faults=sum(one.faults for one in found),
        crashes=sum(one.crashes for one in found),
        hangs=sum(one.hangs for one in found),
        slowest_ms=max(one.slowest_ms for one in found),
        grown_mib={one.name: one.grown_mib for one in found if one.grown_mib > 1},
        grown_fds=sum(one.grown_fds for one in found),
    )


if __name__ == "__main__":
    main()
