from itertools import pairwise

import numpy as np
import pytest

from service.audio.edges import INWARD, OUTWARD, settled
from service.audio.pauses import FRAME, Levels
from service.audio.types import Span

BEGIN, END = 100, 200


def burst() -> Levels:
    """Two seconds of speech-like level, frames 100 to 200, in faint noise."""
    rng = np.random.default_rng(6)
    level = (1e-7 * rng.uniform(0.5, 2, 400)).astype(np.float32)
    level[BEGIN:END] = 1e-2 * rng.uniform(0.5, 2, END - BEGIN)
    return level


@pytest.mark.parametrize("late", range(-8, 9, 4))
def test_edges_move_to_where_the_level_jumps(late: int) -> None:
    span = Span((BEGIN + late) * FRAME, (END + late) * FRAME)
    assert settled((span,), burst()) == (Span(BEGIN * FRAME, END * FRAME),)


def test_edges_move_no_further_than_their_bounds() -> None:
    rng = np.random.default_rng(7)
    for _ in range(100):
        level = rng.exponential(size=300).astype(np.float32) ** 4
        start, end = sorted(rng.choice(300, 2, replace=False).tolist())
        span = Span(start * FRAME, end * FRAME)
        (moved,) = settled((span,), level)
        assert -OUTWARD <= moved.start // FRAME - start <= INWARD
        assert -INWARD <= moved.end // FRAME - end <= OUTWARD
        assert 0 <= moved.start < moved.end <= 300 * FRAME


def test_neighbours_do_not_overlap() -> None:
    rng = np.random.default_rng(8)
    for _ in range(100):
        level = rng.exponential(size=300).astype(np.float32) ** 4
        bounds = np.cumsum(rng.integers(9, 40, 8)) * FRAME
        spans = tuple(Span(int(a), int(b)) for a, b in bounds.reshape(-1, 2))
        moved = settled(spans, level)
        assert len(moved) == len(spans)
        assert all(span.length > 0 for span in moved)
        assert all(left.end <= right.start for left, right in pairwise(moved))


def test_digital_silence_and_faint_noise_give_the_same_edges() -> None:
    silent = burst()
    silent[:BEGIN] = 0
    silent[END:] = 0
    span = Span((BEGIN - 3) * FRAME, (END + 6) * FRAME)
    assert settled((span,), silent) == settled((span,), burst())


def test_no_spans_stay_none() -> None:
    assert settled((), burst()) == ()
