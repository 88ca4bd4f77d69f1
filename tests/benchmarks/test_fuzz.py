"""A few seconds of what `python -m benchmarks fuzz` does for ten minutes."""

from pathlib import Path

import pytest

from benchmarks.fuzz import fuzzed
from benchmarks.fuzzed import Entry
from benchmarks.fuzzing import input_of

STORE = Path(__file__).parents[2] / ".store"
GOOD = (bytes(range(256)),)


@pytest.mark.parametrize("name", ["decode wav", "live webm opus", "multipart", "realtime message", "form fields"])
def test_damaged_input_is_taken_or_refused(name: str) -> None:
    found = fuzzed(name, STORE, seconds=1.0, seed=8)
    assert found.inputs > 20
    assert (found.faults, found.crashes, found.hangs, found.grown_fds) == (0, 0, 0, 0), found.found


def test_input_is_the_same_whatever_was_fed_before() -> None:
    entry = Entry(lambda _: None, lambda: GOOD, text=True)
    inputs = [input_of(entry, GOOD, seed=3, number=number) for number in range(50)]
    assert input_of(entry, GOOD, seed=3, number=41) == inputs[41]
    assert len(set(inputs)) > 30
