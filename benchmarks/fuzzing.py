"""A way in, seconds and a seed in; what came of its damaged inputs out, as a line of JSON. A process of `fuzz`.

python -m benchmarks.fuzzing NAME SECONDS SEED FIRST PLACE STORE

`PLACE` is a file that has the number of the input that is being fed, for whoever finds this process dead. To feed one
input again, give its number as `FIRST` and 0 seconds.
"""

import faulthandler
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.fuzzed import REFUSALS, Entry, entries
from tests.audio.mutations import mutations, resident_mib

HANG_S = 5.0
"""For one input, of a second or less of sound."""

WARM_UP_SHARE = 0.2
"""Of the time: what the libraries allocate once is not growth."""

MOST_TOLD = 3

_KINDS = 9
"""Of damage, in `tests.audio.mutations`: one round."""

WORDS = (
    *(
        b"[" * 2000,
        b'{"a":' * 500,
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"1e999",
        b"-1",
        b"NaN",
        b"Infinity",
        b"null",
    ),
    *(b"9" * 400, b"%00", b"%ff", b"&&==", b"[]", b"[x]=", b'"', b"\\ud800", b"\\u0000", b"true", b"\r\n", b"--", b";"),
    *("\u2028é🦊".encode(), b"<|endoftext|>", b"18446744073709551616", b"0.0000001", b"a" * 5000, b":", b","),
)
"""Of the grammars here, where they do not belong."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the inputs of one way in; `found` tells of the first of each fault."""

    name: str
    inputs: int = 0
    spent_s: float = 0.0
    refused: int = 0
    faults: int = 0
    crashes: int = 0
    hangs: int = 0
    slowest_ms: float = 0.0
    grown_mib: float = 0.0
    grown_fds: int = 0
    found: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, text: str) -> "Outcome":
        return cls(**json.loads(text.splitlines()[-1]))

    def plus(self, other: "Outcome") -> "Outcome":
        """Of two processes of the same way in, one after the other."""
        return Outcome(
            self.name,
            self.inputs + other.inputs,
            self.spent_s + other.spent_s,
            self.refused + other.refused,
            self.faults + other.faults,
            self.crashes + other.crashes,
            self.hangs + other.hangs,
            max(self.slowest_ms, other.slowest_ms),
            max(self.grown_mib, other.grown_mib),
            max(self.grown_fds, other.grown_fds),
            self.found + other.found,
        )

    def row(self) -> Sequence[str | float | int | None]:
        per_s = round(self.inputs / self.spent_s) if self.spent_s else None
        counts = (self.refused, self.faults, self.crashes, self.hangs)
        return (self.name, self.inputs, per_s, *counts, round(self.slowest_ms), self.grown_mib, self.grown_fds)


def input_of(entry: Entry, good: Sequence[bytes], *, seed: int, number: int) -> bytes:
    """The same for the same seed and number, whatever was fed before."""
    rng = np.random.default_rng([seed, number])
    data = good[int(rng.integers(len(good)))]
    for _ in range(int(rng.integers(0, 2)) if entry.text else int(rng.integers(1, 4))):
        if len(data) < 16:
            break
        kind = int(rng.integers(_KINDS))
        data = list(mutations(data, count=kind + 1, seed=int(rng.integers(2**31))))[-1]
    for _ in range(int(rng.integers(0, 4)) if entry.text else 0):
        at, word = int(rng.integers(0, len(data) + 1)), WORDS[int(rng.integers(len(WORDS)))]
        data = data[:at] + word + data[at + int(rng.integers(0, 8)) :]
    return data


def main(entry: Entry, name: str, *, seconds: float, seed: int, first: int, place: Path) -> None:
    good, descriptor = entry.good(), os.open(place, os.O_WRONLY | os.O_CREAT)
    found, number, began_s, warm = Outcome(name), first, time.monotonic(), False
    before_mib, before_fds = resident_mib(), 0
    while number == first or time.monotonic() - began_s < seconds:
        if not warm and time.monotonic() - began_s > WARM_UP_SHARE * seconds:
            gc.collect()
            warm, before_mib, before_fds = True, resident_mib(), open_files()
        os.pwrite(descriptor, f"{number:<12}".encode(), 0)
        found = _fed(entry, input_of(entry, good, seed=seed, number=number), number, found)
        number += 1
    faulthandler.cancel_dump_traceback_later()
    gc.collect()
    grown = resident_mib() - before_mib, open_files() - before_fds
    spent_s = time.monotonic() - began_s
    print(json.dumps(asdict(replace(found, spent_s=spent_s, grown_mib=grown[0], grown_fds=grown[1]))))


def _fed(entry: Entry, data: bytes, number: int, found: Outcome) -> Outcome:
    refused, fault = False, ""
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    started_s = time.perf_counter()
    try:
        entry.feed(data)
    except REFUSALS:
        refused = True
    except Exception:
        fault = f"input {number}: {traceback.format_exc(limit=-6)}"
    took_ms = 1e3 * (time.perf_counter() - started_s)
    told = [*found.found, fault] if fault and len(found.found) < MOST_TOLD else found.found
    return replace(
        found,
        inputs=found.inputs + 1,
        refused=found.refused + refused,
        faults=found.faults + bool(fault),
        slowest_ms=max(found.slowest_ms, took_ms),
        found=told,
    )


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    NAME, SECONDS, SEED, FIRST, PLACE, STORE = sys.argv[1:]
    main(entries(Path(STORE))[NAME], NAME, seconds=float(SECONDS), seed=int(SEED), first=int(FIRST), place=Path(PLACE))
