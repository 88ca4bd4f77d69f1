import math
import time

import pytest

from service.engine.backlog import UNHEARD_BYTES_PER_S, Backlog


def test_what_is_in_work_is_counted_until_it_is_done() -> None:
    backlog = Backlog(100.0, speed=10.0)
    with backlog.entered(4 * UNHEARD_BYTES_PER_S) as one:
        assert backlog.waiting_s == 4.0
        backlog.heard(one, 30.0, due_s=0.0)
        with backlog.entered(0) as other:
            backlog.heard(other, 5.0, due_s=0.0)
            backlog.done(one, 10.0)
            assert backlog.waiting_s == 25.0
        assert backlog.waiting_s == 20.0
        backlog.done(one, 99.0)
        assert backlog.waiting_s == 0
    assert backlog.waiting_s == 0


def test_a_recording_that_would_pass_the_limit_is_refused_and_one_alone_is_not() -> None:
    backlog = Backlog(100.0, speed=10.0)
    with backlog.entered(0) as long:
        backlog.heard(long, 4000.0, due_s=0.0)
        assert backlog.verdict(long, deadline_s=None).cause == "none"
        with backlog.entered(0) as clip:
            backlog.heard(clip, 3.0, due_s=0.0)
            verdict = backlog.verdict(clip, deadline_s=None)
            assert verdict.cause == "queue"
            assert verdict.retry_after_s == pytest.approx(390.3, abs=0.1)


def test_a_clip_does_not_count_the_wait_for_what_it_overtakes() -> None:
    backlog = Backlog(10_000.0, speed=1.0)
    with backlog.entered(0) as long, backlog.entered(0) as clip:
        backlog.heard(long, 4000.0, due_s=4000.0)
        backlog.heard(clip, 3.0, due_s=3.0)
        assert backlog.verdict(clip, deadline_s=10.0).accepted
        backlog.heard(long, 4000.0, due_s=2.0)
        assert backlog.verdict(clip, deadline_s=10.0).cause == "deadline"
        assert backlog.verdict(clip, deadline_s=None).cause == "queue"


def test_another_client_s_recording_takes_no_more_turns_than_its_share() -> None:
    backlog = Backlog(10_000.0, speed=1.0)
    with backlog.entered(0, client="one") as long, backlog.entered(0, client="two") as clip:
        backlog.heard(long, 4000.0, due_s=2.0)
        backlog.heard(clip, 3.0, due_s=3.0)
        assert backlog.verdict(clip, deadline_s=6.5).accepted
        assert backlog.verdict(clip, deadline_s=5.5).cause == "deadline"
        with backlog.entered(0, client="one", priority="batch") as batch:
            backlog.heard(batch, 1.0, due_s=0.0)
            assert backlog.verdict(batch, deadline_s=11.5).cause == "deadline"
            assert backlog.verdict(batch, deadline_s=12.5).accepted


def test_silence_says_nothing_of_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    backlog = Backlog(100.0, speed=10.0)
    with backlog.entered(0):
        now_s = 1000.0
    assert backlog.speed == pytest.approx(10.0)
    with backlog.entered(0) as share:
        for _ in range(20):
            with backlog.computing(), backlog.computing():
                now_s += 1.0
                backlog.done(share, 30.0)
            now_s += 50.0
    assert 20 < backlog.speed < 30


def test_a_request_that_fails_leaves_nothing_behind() -> None:
    backlog = Backlog(100.0, speed=10.0)
    with pytest.raises(ValueError, match="it fails"), backlog.entered(1):
        raise ValueError("it fails")
    assert backlog.waiting_s == 0


def test_no_more_is_bearable_than_a_short_clip_may_wait_for() -> None:
    assert Backlog(10.0, speed=10.0).bearable_s == 10.0
    backlog = Backlog(14_400.0, speed=10.0)
    assert backlog.bearable_s == pytest.approx(600.0)
    with backlog.entered(0) as long:
        backlog.heard(long, 3600.0, due_s=math.inf)
        assert backlog.bearable_s == pytest.approx(4200.0)


def test_those_who_are_refused_are_told_to_come_back_one_after_another() -> None:
    backlog = Backlog(100.0, speed=10.0)
    with backlog.entered(0) as long:
        backlog.heard(long, 100.0, due_s=0.0)
        told = []
        for _ in range(20):
            with backlog.entered(0) as clip:
                backlog.heard(clip, 10.0, due_s=0.0)
                told.append(backlog.verdict(clip, deadline_s=None).retry_after_s)
    assert told == sorted(told)
    assert told[0] == pytest.approx(1.0, abs=0.1)
    assert told[-1] == pytest.approx(20.0, abs=1.0)
