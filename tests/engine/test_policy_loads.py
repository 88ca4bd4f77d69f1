"""The policy serves whole traces of load: it is quick, and it does not flap. The server is that of `loads.py`."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from service.engine.ladder import Ladder
from service.engine.policy import SETTLE_S
from service.engine.precision import PATIENCE_S, Orders
from tests.engine.loads import HIGH, LOW, THREE, TWO, Outcome, Server, poisson

LIVE = 0.8
"""What a server reaches of its profiles here."""

HIGH_SPEED = LIVE * 107.0
MIXED = (3.0, 9.0)
LONG = (2.0, 30.0)
SEEDS = (1, 2, 3)
HALF_HOUR_S = 1800.0

Load = Callable[[float], float]
"""At a time, of the capacity of the high rung."""


def serve(
    load: Load, *, until_s: float, seed: int = 1, clip_s: tuple[float, float] = MIXED, server: Server | None = None
) -> Outcome:
    server = server or Server(live=LIVE)
    clips = poisson(lambda s: load(s) * HIGH_SPEED, until_s=until_s, seed=seed, clip_s=clip_s)
    return server.run(clips, until_s)


def step(high: float, *, low: float = 0.5, from_s: float = 60, to_s: float = 180) -> Load:
    return lambda s: high if from_s <= s < to_s else low


def wave(period_s: float) -> Load:
    """From 10 % to 150 %."""
    return lambda s: 0.8 + 0.7 * math.sin(2 * math.pi * s / period_s)


def bursts(every_s: float, *, long_s: float) -> Load:
    return lambda s: 10.0 if s % every_s < long_s else 0.1


def steady(load: float) -> Load:
    return lambda _: load


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ladder", [TWO, THREE])
@pytest.mark.parametrize("high", [1.5, 2.0, 3.0])
def test_a_step_of_load_is_answered_within_five_seconds_and_calm_within_a_minute(
    high: float, ladder: Ladder, seed: int
) -> None:
    outcome = serve(step(high), until_s=300, seed=seed, server=Server(ladder, live=LIVE))
    down, up = outcome.moves[0], outcome.moves[-1]
    assert 60 < down.s < down.done_s <= 65
    assert 180 < up.s < up.done_s <= 240
    assert (down.cause, up.cause, up.rung) == ("load", "calm", 0)
    assert len(outcome.moves) <= len(ladder.rungs)


@pytest.mark.parametrize("seed", SEEDS)
def test_where_the_low_rung_carries_the_load_the_delay_keeps_within_the_target(seed: int) -> None:
    loaded = serve(step(1.5, to_s=300), until_s=300, seed=seed, server=Server(live=LIVE, load_s=0.5))
    fixed = serve(step(1.5, to_s=300), until_s=300, seed=seed, server=Server(Ladder((HIGH,)), live=LIVE))
    assert loaded.p95_s(60, 300) < 1 < 10 < fixed.p95_s(60, 300)
    assert not loaded.refused
    assert len(fixed.refused) > 100


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [0.2, 0.4, 0.5])
def test_what_the_high_rung_carries_with_ease_stays_there(load: float, seed: int) -> None:
    assert len(serve(steady(load), until_s=HALF_HOUR_S, seed=seed).moves) <= 2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [0.95, 1.05, 1.5, 2.0, 3.0])
def test_what_the_high_rung_cannot_carry_moves_once(load: float, seed: int) -> None:
    assert serve(steady(load), until_s=600, seed=seed).rungs() == [1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("live", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("load", [0.6, 0.7, 0.8, 0.9])
def test_near_the_limit_tries_to_step_up_become_rare(load: float, live: float, seed: int) -> None:
    """However wrong the profile is: a rung that just does not do is tried after 10 s, 20 s, 40 s, …"""
    outcome = serve(steady(load * live / LIVE), until_s=HALF_HOUR_S, seed=seed, server=Server(live=live))
    assert len(outcome.moves) <= 20
    assert sum(move.s > HALF_HOUR_S / 2 for move in outcome.moves) <= 8


@pytest.mark.parametrize("period_s", [5, 10, 20, 40, 60, 90, 120, 180])
def test_waves_that_are_shorter_than_it_can_follow_leave_it_down(period_s: float) -> None:
    outcome = serve(wave(period_s), until_s=HALF_HOUR_S)
    assert len(outcome.moves) <= 9
    assert outcome.moves[-1].rung == 1 or outcome.moves[-1].s > HALF_HOUR_S - period_s


@pytest.mark.parametrize("period_s", [300, 600])
def test_long_waves_are_followed_with_two_moves_each(period_s: float) -> None:
    outcome = serve(wave(period_s), until_s=HALF_HOUR_S)
    waves = HALF_HOUR_S / period_s
    assert 2 * (waves - 1) <= len(outcome.moves) <= 2 * (waves + 1)
    assert outcome.p95_s() < 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ramp_up_and_down_is_two_moves(seed: int) -> None:
    outcome = serve(lambda s: 1.6 * (1 - abs(s / 600 - 1)), until_s=1200, seed=seed)
    assert outcome.rungs()[:1] == [1]
    assert outcome.rungs()[-1:] == [0]
    assert len(outcome.moves) <= 4


@pytest.mark.parametrize("every_s", [10, 30, 60])
@pytest.mark.parametrize("long_s", [0.1, 0.5, 1])
def test_bursts_do_not_make_it_flap(long_s: float, every_s: float) -> None:
    assert len(serve(bursts(every_s, long_s=long_s), until_s=HALF_HOUR_S).moves) <= 18


@pytest.mark.parametrize("load_s", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("load", [step(1.5), step(3), wave(90), wave(20), bursts(30, long_s=0.5), steady(0.8)])
def test_no_two_moves_come_sooner_than_what_waits_can_drain(load: Load, load_s: float) -> None:
    server = Server(THREE, live=LIVE, load_s=load_s)
    for before, after in pairwise(serve(load, until_s=600, clip_s=LONG, server=server).moves):
        assert after.s - before.done_s >= (PATIENCE_S if after.cause == "calm" else SETTLE_S)


def test_long_clips_that_wait_by_chance_do_not_make_it_flap() -> None:
    outcome = serve(steady(0.5), until_s=HALF_HOUR_S, clip_s=LONG)
    assert len(outcome.moves) <= 16


def test_a_second_ordinary_peak_is_followed_as_the_first_was() -> None:
    outcome = serve(lambda s: 1.5 if s % 400 < 60 else 0.3, until_s=1600)
    assert outcome.rungs() == [1, 0] * 4


def test_bounds_hold_under_any_load() -> None:
    middle = THREE.rungs[1].name
    for orders in (Orders(highest=middle, lowest=middle), Orders(lowest=middle), Orders(highest=middle)):
        outcome = serve(step(3), until_s=300, server=Server(THREE, live=LIVE, orders=orders))
        assert not (orders.lowest and 2 in outcome.rungs())
        assert not (orders.highest and 0 in outcome.rungs())


def test_a_low_rung_that_cannot_carry_the_load_either_stays_and_refuses() -> None:
    outcome = serve(steady(4), until_s=300, server=Server(Ladder((HIGH, LOW)), live=LIVE))
    assert outcome.rungs() == [1]
    assert outcome.refused
