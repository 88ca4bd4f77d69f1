from itertools import pairwise

import numpy as np
import pytest

from service.audio.pauses import FRAME, STEP
from service.audio.types import SAMPLE_RATE, Piece, Samples, Span, Window
from service.audio.windows import end_s, halved, packed, start_s, windows

LENGTH = 120 * SAMPLE_RATE


def counted(length: int = LENGTH) -> Samples:
    """A source whose every sample is its own index (exact in float32 below 2**24)."""
    return np.arange(length, dtype=np.float32)


def some_spans(rng: np.random.Generator, length: int = LENGTH) -> tuple[Span, ...]:
    """Two spans or more, of 0.1 to 40 s on the grid of 10 ms; some touch, not the first two."""
    spans = [Span(0, 1600)]
    at = int(rng.integers(20, 200)) * FRAME
    while at < length:
        short, long = int(rng.integers(10, 800)), int(rng.integers(800, 4000))
        end = min(length, at + (short if rng.random() < 0.8 else long) * FRAME)
        spans.append(Span(at, end))
        at = end + (0, 1, int(rng.integers(2, 500)))[int(rng.integers(0, 3))] * FRAME
    return tuple(spans)


def test_every_sample_of_speech_is_in_one_window_at_its_place() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        spans = some_spans(rng)
        taken = windows(counted(), spans)
        sources = np.concatenate([window.samples for window in taken])
        assert np.all(np.diff(sources) > 0)
        speech = np.concatenate([np.arange(span.start, span.end) for span in spans])
        assert np.all(np.isin(speech, sources, assume_unique=True))
        assert len(sources) - len(speech) < STEP * len(spans)


@pytest.mark.parametrize(("target_s", "max_s"), [(30, 30), (15, 30), (10, 10), (0.5, 1)])
def test_no_window_is_longer_than_the_limit_or_empty(target_s: float, max_s: float) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        taken = windows(counted(), some_spans(rng), target_s=target_s, max_s=max_s)
        assert all(0 < window.duration_s <= max_s for window in taken)


def test_pieces_tell_where_each_sample_came_from() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        for window in windows(counted(), some_spans(rng)):
            ends = [0]
            for piece in window.pieces:
                held = window.samples[piece.window_start : piece.window_start + piece.length]
                np.testing.assert_array_equal(held, np.arange(piece.source_start, piece.source_start + piece.length))
                assert piece.window_start == ends[-1]
                ends.append(piece.window_start + piece.length)
            assert ends[-1] == len(window.samples)


def test_pieces_are_apart_in_the_source_and_keep_the_grid_of_20_ms() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        for window in windows(counted(), some_spans(rng)):
            for left, right in pairwise(window.pieces):
                assert right.source_start > left.source_start + left.length
                assert right.window_start % STEP == 0


def test_silence_in_a_pause_changes_the_map_alone() -> None:
    rng = np.random.default_rng(5)
    silence = 4321 * STEP
    for _ in range(50):
        spans = some_spans(rng)
        gaps = [right.start for left, right in pairwise(spans) if right.start - left.end >= STEP]
        cut = int(rng.choice(gaps))
        source = counted()
        longer = np.concatenate([source[:cut], np.zeros(silence, np.float32), source[cut:]])
        moved = tuple(Span(s.start + silence, s.end + silence) if s.start >= cut else s for s in spans)
        before, after = windows(source, spans), windows(longer, moved)
        for old, new in zip(before, after, strict=True):
            np.testing.assert_array_equal(old.samples, new.samples)
            times = np.arange(0, old.duration_s, 0.02).tolist()
            for time in times:
                was, now = start_s(old, time), start_s(new, time)
                assert now == pytest.approx(was + silence / SAMPLE_RATE if was * SAMPLE_RATE >= cut else was)


def test_no_spans_give_no_windows() -> None:
    assert windows(counted(1000), ()) == ()


@pytest.mark.parametrize("length", [1, STEP - 1, STEP, STEP + 1, 30 * SAMPLE_RATE, 30 * SAMPLE_RATE + 1])
def test_a_span_of_any_length_is_covered(length: int) -> None:
    taken = windows(counted(length), (Span(0, length),))
    assert np.concatenate([window.samples for window in taken]).tolist() == list(range(length))


def test_a_span_over_the_limit_is_cut_at_its_quietest_in_the_last_third() -> None:
    samples = np.random.default_rng(6).standard_normal(40 * SAMPLE_RATE).astype(np.float32)
    samples[23 * SAMPLE_RATE : 24 * SAMPLE_RATE] = 0
    samples[5 * SAMPLE_RATE : 8 * SAMPLE_RATE] = 0
    first, second = windows(samples, (Span(0, len(samples)),))
    assert 23 < first.duration_s < 24
    assert first.duration_s + second.duration_s == 40


def test_a_window_ends_at_a_pause_before_the_target() -> None:
    spans = tuple(Span(i * 10 * SAMPLE_RATE, (i * 10 + 6) * SAMPLE_RATE) for i in range(10))
    assert [window.duration_s for window in windows(counted(), spans, target_s=20)] == [18, 18, 18, 6]


def test_a_span_between_target_and_limit_stays_whole() -> None:
    spans = (Span(0, 5 * SAMPLE_RATE), Span(6 * SAMPLE_RATE, 28 * SAMPLE_RATE), Span(30 * SAMPLE_RATE, LENGTH // 2))
    assert [window.duration_s for window in windows(counted(), spans, target_s=15)] == [5, 22, 30]


def test_packing_ends_a_window_after_the_longest_part_of_its_last_third() -> None:
    assert packed([40, 30, 9, 15, 50], 100) == ((0, 2), (2, 5))


def test_packing_falls_back_into_step_after_a_change() -> None:
    rng = np.random.default_rng(7)
    lengths = rng.integers(1, 20, 400).tolist()
    same = {last for _, last in packed(lengths, 60)} & {last - 1 for _, last in packed([25, *lengths], 60)}
    assert min(same) < 60


JOINED = Window(
    samples=np.zeros(4800, np.float32),
    pieces=(Piece(0, 16_000, 1600), Piece(1600, 32_000, 1600), Piece(3200, 80_000, 1600)),
)


@pytest.mark.parametrize(
    ("time_s", "start", "end"), [(0.0, 1.0, 1.0), (0.05, 1.05, 1.05), (0.1, 2.0, 1.1), (0.2, 5.0, 2.1)]
)
def test_where_pieces_meet_a_start_is_in_the_later_and_an_end_in_the_earlier(
    time_s: float, start: float, end: float
) -> None:
    assert start_s(JOINED, time_s) == pytest.approx(start)
    assert end_s(JOINED, time_s) == pytest.approx(end)


def test_times_past_the_ends_are_held_at_them() -> None:
    assert (start_s(JOINED, -1), end_s(JOINED, -1)) == (1.0, 1.0)
    assert (start_s(JOINED, 9), end_s(JOINED, 9)) == pytest.approx((5.1, 5.1))


def test_source_times_never_go_back_and_words_keep_their_order() -> None:
    rng = np.random.default_rng(8)
    for window in windows(counted(), some_spans(rng)):
        times = np.sort(rng.uniform(-0.1, window.duration_s + 0.1, 300)).tolist()
        starts, ends = [start_s(window, t) for t in times], [end_s(window, t) for t in times]
        assert starts == sorted(starts)
        assert ends == sorted(ends)
        assert all(start_s(window, a) <= end_s(window, b) for a, b in pairwise(times) if b - a > 1e-4)


def test_a_window_is_halved_where_it_is_quiet_and_keeps_its_map() -> None:
    samples = np.ones(20 * SAMPLE_RATE, np.float32)
    samples[round(8.3 * SAMPLE_RATE) : round(8.8 * SAMPLE_RATE)] = 0
    (window,) = windows(
        samples, (Span(SAMPLE_RATE, 6 * SAMPLE_RATE, lead=800), Span(8 * SAMPLE_RATE, 12 * SAMPLE_RATE))
    )
    left, right = halved(window)
    assert len(left.samples) + len(right.samples) == len(window.samples)
    assert (start_s(left, 0), start_s(left, 5.5)) == (1, 8.5)
    assert 8.3 < end_s(left, left.duration_s) == start_s(right, 0) < 8.8
    assert end_s(right, right.duration_s) == 12
    assert [piece.lead for piece in (*left.pieces, *right.pieces)] == [800, 0, 0]
