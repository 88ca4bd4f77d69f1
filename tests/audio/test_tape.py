import random

import numpy as np
import pytest

from service.audio.tape import Tape
from service.audio.types import SAMPLE_RATE, Samples, Span


def numbered(start: int, end: int) -> Samples:
    """Samples that tell which of the stream they are."""
    return np.arange(start, end, dtype=np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_needed_is_there_under_its_number(seed: int) -> None:
    chance = random.Random(seed)
    tape, needed = Tape(), 0
    for _ in range(300):
        tape.append(numbered(tape.end, tape.end + chance.choice([0, 1, 160, 5000, 70_000])), needed=needed)
        start = chance.randint(needed, tape.end)
        end = chance.randint(start, tape.end)
        np.testing.assert_array_equal(tape.cut(Span(start, end)), numbered(start, end))
        needed = chance.choice([needed, start, max(needed, tape.end - SAMPLE_RATE)])


def test_what_was_cut_stays_as_it_is() -> None:
    tape = Tape()
    tape.append(numbered(0, 1000), needed=0)
    taken = tape.cut(Span(0, 1000))
    for _ in range(200):
        tape.append(numbered(tape.end, tape.end + 1000), needed=tape.end)
    np.testing.assert_array_equal(taken, numbered(0, 1000))


def test_what_has_not_come_or_is_forgotten_cannot_be_cut() -> None:
    tape = Tape()
    tape.append(numbered(0, 1000), needed=0)
    with pytest.raises(ValueError, match="not within samples 0 to 1000"):
        tape.cut(Span(0, 1001))
    for _ in range(200):
        tape.append(numbered(tape.end, tape.end + 1000), needed=tape.end)
    with pytest.raises(ValueError, match="not within"):
        tape.cut(Span(0, 1000))


def test_an_hour_takes_no_more_memory_than_what_is_needed() -> None:
    tape, sizes = Tape(), set()
    second = np.zeros(SAMPLE_RATE, np.float32)
    for _ in range(3600):
        tape.append(second, needed=max(0, tape.end - 2 * SAMPLE_RATE))
        sizes.add(len(tape._samples))
    assert tape.end == 3600 * SAMPLE_RATE
    assert max(sizes) <= 8 * SAMPLE_RATE
