"""Damaged copies of a file, the same ones for the same seed. As a script: decode them and print what came of it.

Run by itself (`-m tests.audio.mutations NAME COUNT [live]`), so that a crash is an exit status and not the end of the
tests.
"""

import faulthandler
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from service.audio.decode import Limits, decode
from service.audio.live import decode_live
from service.audio.pipe import Pipe
from service.audio.types import Samples
from service.errors import AudioError
from tests.audio.clips import CONTAINERS

HANG_S = 5
HEADER_BYTES = 512
LIES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
LIMITS = Limits(max_duration_s=60)


def mutations(data: bytes, *, count: int, seed: int) -> Iterator[bytes]:
    """Cuts, flipped bits, header fields that lie, blocks zeroed, repeated, dropped or swapped."""
    rng = np.random.default_rng(seed)
    kinds = (
        _cut,
        _cut_head,
        _flip_header,
        _flip_anywhere,
        _lie,
        _noise_header,
        _zero_block,
        _repeat_block,
        _drop_block,
    )
    for index in range(count):
        yield kinds[index % len(kinds)](data, rng)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(0, len(data))]


def _cut_head(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(0, min(len(data), HEADER_BYTES))]


def _flip(data: bytes, positions: np.ndarray, rng: np.random.Generator) -> bytes:
    values = bytearray(data)
    for position in positions:
        values[position] ^= 1 << int(rng.integers(0, 8))
    return bytes(values)


def _flip_header(data: bytes, rng: np.random.Generator) -> bytes:
    return _flip(data, rng.integers(0, min(len(data), HEADER_BYTES), rng.integers(1, 16)), rng)


def _flip_anywhere(data: bytes, rng: np.random.Generator) -> bytes:
    return _flip(data, rng.integers(0, len(data), rng.integers(1, 64)), rng)


def _lie(data: bytes, rng: np.random.Generator) -> bytes:
    values = bytearray(data)
    at = int(rng.integers(4, min(len(data), HEADER_BYTES) - 4))
    lie = int(rng.choice(LIES))
    values[at : at + 4] = lie.to_bytes(4, "little" if rng.integers(2) else "big")
    return bytes(values)


def _noise_header(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(4, 64))
    return data[:start] + rng.bytes(int(rng.integers(1, 64))) + data[start + 32 :]


def _block(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(0, len(data)))
    return start, start + int(rng.integers(1, max(2, len(data) // 4)))


def _zero_block(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = _block(data, rng)
    return data[:start] + bytes(len(data[start:end])) + data[end:]


def _repeat_block(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = _block(data, rng)
    return data[:end] + data[start:end] * int(rng.integers(1, 4)) + data[end:]


def _drop_block(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = _block(data, rng)
    return data[:start] + data[end:]


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak_mib() -> float:
    """Not `ru_maxrss`, which a process inherits from the one that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def decode_file(data: bytes) -> str:
    try:
        decoded = decode(data, limits=LIMITS)
    except AudioError as error:
        return type(error).__name__
    assert len(decoded.samples) > 0
    _check(decoded.samples)
    return "decoded"


def decode_stream(data: bytes) -> str:
    pipe = Pipe(2 * len(data) + 1, lambda: None)
    for start in range(0, len(data), 1000):
        pipe.put(data[start : start + 1000])
        pipe.mark(lambda: None)
    pipe.close()
    try:
        decode_live(pipe, None, _check)
    except AudioError as error:
        return type(error).__name__
    return "decoded"


def _check(samples: Samples) -> None:
    assert samples.dtype == np.float32
    assert np.abs(samples).max() <= 1.0  # false for NaN


def main(name: str, count: int, outcome_of: Callable[[bytes], str]) -> None:
    data = CONTAINERS[name](1.0)
    for damaged in mutations(data, count=20, seed=0):  # the libraries' own first allocations
        outcome_of(damaged)
    before_mib, slowest_s, outcomes = resident_mib(), 0.0, dict[str, int]()
    for damaged in mutations(data, count=count, seed=1):
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        start = time.perf_counter()
        outcome = outcome_of(damaged)
        slowest_s = max(slowest_s, time.perf_counter() - start)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    faulthandler.cancel_dump_traceback_later()
    report = {
        "outcomes": outcomes,
        "slowest_s": slowest_s,
        "grown_mib": resident_mib() - before_mib,
        "peak_mib": peak_mib(),
        "open_files": len(list(Path("/proc/self/fd").iterdir())),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), decode_stream if sys.argv[3:] == ["live"] else decode_file)
