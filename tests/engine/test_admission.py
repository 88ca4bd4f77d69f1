import math
import random

import pytest

from service.engine.admission import (
    BASE_BUDGET_S,
    HALF_LIFE_S,
    LEAST_QUEUE_S,
    MAX_QUEUE_S,
    SKETCH_S,
    SKETCHES_PER_S,
    STREAMS_SHARE,
    Speed,
    Verdict,
    admit,
    budget_s,
    queue_limit_s,
    streams_held,
)

GIB = 2**30


def asked(
    duration_s: float = 10,
    *,
    ahead_s: float = 0,
    limit_s: float = 3600,
    speed: float = 40,
    deadline_s: float | None = None,
    served_before_s: float | None = None,
) -> Verdict:
    return admit(
        duration_s=duration_s,
        ahead_s=ahead_s,
        limit_s=limit_s,
        speed=speed,
        deadline_s=deadline_s,
        served_before_s=served_before_s,
    )


def test_the_limit_is_what_was_asked_for() -> None:
    assert queue_limit_s(GIB, 100.0) == (100.0, "asked for")


def test_the_limit_is_a_quarter_of_the_memory() -> None:
    limit_s, reason = queue_limit_s(GIB, None)
    assert limit_s == GIB / 4 / 64_000
    assert reason == "25% of the memory at 64,000 bytes a second"


def test_the_limit_is_four_hours_on_a_large_machine() -> None:
    assert queue_limit_s(512 * GIB, None) == (MAX_QUEUE_S, "the most there is by default, 4 hours")


def test_the_limit_is_no_more_than_the_variant_leaves() -> None:
    limit_s, reason = queue_limit_s(GIB, None, variant_bytes=GIB - 64_000 * 500)
    assert limit_s == 500
    assert reason == "what the variant leaves of the memory, at 64,000 bytes a second"
    assert queue_limit_s(GIB, None, variant_bytes=GIB) == (LEAST_QUEUE_S, reason)
    assert queue_limit_s(GIB, None, variant_bytes=GIB // 8) == queue_limit_s(GIB, None)
    assert queue_limit_s(0, None, variant_bytes=GIB) == queue_limit_s(0, None)


def test_memory_that_is_unknown_is_taken_to_be_small() -> None:
    limit_s, reason = queue_limit_s(0, None)
    assert limit_s == queue_limit_s(GIB, None)[0]
    assert "unknown" in reason


def test_the_budget_grows_with_the_audio() -> None:
    assert budget_s(0) == BASE_BUDGET_S
    assert budget_s(1800) == BASE_BUDGET_S + 4 * 1800


def test_what_fits_is_let_in() -> None:
    verdict = asked(10, ahead_s=3590, speed=100)
    assert (verdict.accepted, verdict.cause, verdict.retry_after_s) == (True, "none", 0)


@pytest.mark.parametrize("ahead_s", [0.0, 1e-12])
def test_a_recording_alone_is_let_in_however_long(ahead_s: float) -> None:
    assert asked(100_000, ahead_s=ahead_s, limit_s=10, speed=0.01).accepted


def test_a_full_queue_refuses_in_words_for_the_client() -> None:
    verdict = asked(10, ahead_s=3620)
    assert not verdict.accepted
    assert verdict.cause == "queue"
    assert verdict.reason == "3,620 s of audio are waiting and 3,600 s are the limit"


def test_one_that_does_not_fit_any_more_is_told_so() -> None:
    verdict = asked(300, ahead_s=3400)
    assert verdict.reason == "3,400 s of audio are waiting and 300 s more would pass the limit of 3,600 s"
    assert verdict.retry_after_s == pytest.approx(100 / 40)


def test_one_longer_than_the_limit_waits_until_it_is_alone() -> None:
    verdict = asked(5000, ahead_s=400)
    assert not verdict.accepted
    assert verdict.retry_after_s == pytest.approx(400 / 40)
    assert asked(5000, ahead_s=0).accepted


def test_a_deadline_that_cannot_be_met_is_refused() -> None:
    verdict = asked(10, ahead_s=800, deadline_s=5)
    assert (verdict.accepted, verdict.cause) == (False, "deadline")
    assert verdict.reason == "the answer is expected in 20.2 s and the deadline is 5 s"
    assert verdict.retry_after_s == pytest.approx(20.25 - 5)
    assert asked(10, ahead_s=800, deadline_s=20.3).accepted


def test_a_deadline_counts_for_one_alone() -> None:
    assert asked(1800, deadline_s=30).cause == "deadline"
    assert asked(1800, deadline_s=60).accepted


def test_a_full_queue_is_told_before_a_deadline() -> None:
    assert asked(10, ahead_s=3620, deadline_s=1).cause == "queue"


def test_nothing_is_let_in_only_to_expire() -> None:
    verdict = asked(10, ahead_s=3000, speed=10)
    assert (verdict.accepted, verdict.cause) == (False, "queue")
    assert verdict.reason == "the wait is 300 s and 80 s are the limit for a recording of this length"
    assert asked(200, ahead_s=3000, speed=10).accepted, "a longer one has more time"


def test_one_that_overtakes_waits_for_what_is_served_before_it() -> None:
    assert not asked(3, ahead_s=3000, speed=10, deadline_s=2).accepted
    assert asked(3, ahead_s=3000, speed=10, deadline_s=2, served_before_s=9).accepted
    assert not asked(3, ahead_s=3600, served_before_s=0).accepted, "it needs memory all the same"


@pytest.mark.parametrize("seed", range(20))
def test_who_comes_back_when_told_is_let_in(seed: int) -> None:
    """If the speed holds and nobody comes in between."""
    draw = random.Random(seed)
    for _ in range(50):
        duration_s, ahead_s, limit_s = (draw.uniform(0.1, 4000) for _ in range(3))
        speed, deadline_s = draw.uniform(0.1, 100), draw.choice([None, draw.uniform(0.1, 400)])
        for _ in range(3):  # queue, deadline and budget may each have their own time
            verdict = asked(duration_s, ahead_s=ahead_s, limit_s=limit_s, speed=speed, deadline_s=deadline_s)
            assert verdict.accepted == (verdict.cause == "none")
            assert 0 <= verdict.retry_after_s <= ahead_s / speed
            ahead_s = max(0.0, ahead_s - speed * verdict.retry_after_s - 1e-6)
        in_vain = deadline_s is not None and duration_s / speed > deadline_s
        assert (
            asked(duration_s, ahead_s=ahead_s, limit_s=limit_s, speed=speed, deadline_s=deadline_s).accepted or in_vain
        )


def test_speed_is_a_guess_at_first() -> None:
    assert Speed(30).value == 30


@pytest.mark.parametrize("seed", range(5))
def test_speed_comes_to_what_is_measured(seed: int) -> None:
    draw = random.Random(seed)
    speed, now = Speed(5), 100.0
    speed.started(now)
    for _ in range(2000):
        took_s = draw.uniform(0.01, 0.3)
        now += took_s
        speed.done(50 * took_s, now)
    assert speed.value == pytest.approx(50, rel=0.02)


def test_a_batch_that_ends_at_once_counts_whole() -> None:
    speed = Speed(20)
    speed.started(0)
    for second in range(1, 200):
        for _ in range(16):
            speed.done(1.25, second)
    assert speed.value == pytest.approx(20, rel=0.03)


def test_a_guess_is_soon_outweighed() -> None:
    speed = Speed(1000)
    speed.started(0)
    for second in range(1, 61):
        speed.done(40, second)
    assert speed.value < 65, "of a guess of 1,000 a fiftieth is left"


def test_a_change_is_half_known_after_the_half_life() -> None:
    speed = Speed(10)
    speed.started(0)
    for second in range(1, 500):
        speed.done(10, second)
    for second in range(500, 500 + round(HALF_LIFE_S)):
        speed.done(20, second)
    assert speed.value == pytest.approx(15, rel=0.03)


def test_times_without_work_change_nothing() -> None:
    speed = Speed(10)
    speed.started(0)
    speed.done(100, 2)
    speed.idle(2)
    before = speed.value
    speed.started(90_000)
    speed.idle(90_000)
    assert speed.value == before
    speed.done(1e6, 90_001)
    assert speed.value == before, "nobody knows how long that took"


def test_beginning_twice_is_beginning_once() -> None:
    once, twice = Speed(10), Speed(10)
    for speed in (once, twice):
        speed.started(0)
    twice.started(5)
    for speed in (once, twice):
        speed.done(30, 10)
    assert once.value == twice.value


@pytest.mark.parametrize("guess", [0.0, -1.0, math.nan, math.inf])
def test_speed_is_never_nothing(guess: float) -> None:
    speed = Speed(guess)
    assert 0 < speed.value < math.inf
    speed.started(0)
    speed.done(0, 0)
    speed.done(0, 1e9)
    assert 0 < speed.value < math.inf


def test_a_clock_that_stands_or_goes_back_does_no_harm() -> None:
    speed = Speed(10)
    speed.started(100)
    speed.done(5, 100)
    speed.done(5, 99)
    assert 10 < speed.value < math.inf


COST_S = 1 + SKETCHES_PER_S * SKETCH_S
"""Seconds of audio that a second of a stream costs."""


@pytest.mark.parametrize("asked_for", [0, 1, 7, 1000])
@pytest.mark.parametrize("speed", [0.0, 40.0, 1e4])
def test_as_many_streams_are_held_as_were_asked_for(asked_for: int, speed: float) -> None:
    assert streams_held(speed, asked_for) == (asked_for, "WREN_MAX_STREAMS")


@pytest.mark.parametrize("held", [1, 2, 8, 100])
def test_as_many_streams_are_held_as_the_measured_speed_carries(held: int) -> None:
    enough = held * COST_S / STREAMS_SHARE
    assert streams_held(enough + 0.01, None)[0] == held
    assert streams_held(enough - 0.01, None)[0] == max(1, held - 1)


@pytest.mark.parametrize("speed", [0.0, 0.01, 1.0])
def test_one_stream_is_held_by_the_slowest_machine(speed: float) -> None:
    assert streams_held(speed, None)[0] == 1


def test_why_so_many_streams_are_held_is_told_in_figures() -> None:
    _, reason = streams_held(123.4, None)
    assert reason == f"measured: 123 s of audio a second, and a second of a stream costs as much as {COST_S:.0f}"
