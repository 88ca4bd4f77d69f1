"""The rules of the policy, one by one. `test_policy_loads.py` has it serve whole traces of load."""

import math
from collections.abc import Callable, Iterable, Set
from dataclasses import replace

import pytest

from service.engine.ladder import Ladder, Rung
from service.engine.policy import MOST_PATIENCE_S, RELEASE_S, SETTLE_S, decide, settled
from service.engine.precision import PATIENCE_S, Decision, Fill, Orders, Signals, Standing
from service.engine.pressure import INTERIMS_S
from tests.engine.loads import HIGH, LOOK_S, LOW, MIDDLE, THREE, TWO

ALLOWED_S = 1 - 0.107
"""What the high rung allows of a target of a second."""

PRESSED_S = 0.51 * ALLOWED_S
LATE_S = 1.1 * ALLOWED_S
LONG_AGO_S = -1000.0
MB = 10**6


def looks(
    ladder: Ladder,
    standing: Standing,
    at: Callable[[float], Signals],
    *,
    seconds: float,
    orders: Orders | None = None,
    blocked: Set[str] = frozenset(),
) -> Iterable[Decision]:
    """What is decided, four times a second, from 0 s on."""
    for index in range(int(seconds / LOOK_S) + 1):
        now_s = index * LOOK_S
        decision = decide(ladder, standing, orders or Orders(), replace(at(now_s), now_s=now_s), blocked=blocked)
        yield decision
        standing = decision.standing


def first_move(
    ladder: Ladder,
    standing: Standing,
    at: Callable[[float], Signals],
    *,
    seconds: float = 30.0,
    orders: Orders | None = None,
    blocked: Set[str] = frozenset(),
) -> tuple[float, Decision] | None:
    """When the rung changes for the first time, and how."""
    before = standing.rung
    for decision in looks(ladder, standing, at, seconds=seconds, orders=orders, blocked=blocked):
        if decision.standing.rung != before:
            return decision.standing.since_s, decision
    return None


def moved(
    ladder: Ladder, standing: Standing, at: Callable[[float], Signals], *, seconds: float = 30.0
) -> tuple[float, Decision]:
    found = first_move(ladder, standing, at, seconds=seconds)
    assert found is not None
    return found


def signals(
    *,
    delay_s: float = 0.0,
    offered: float = 0.0,
    refused: int = 0,
    memory: float | None = None,
    exhausted: int = 0,
    target_s: float = 1.0,
) -> Signals:
    """At no time yet; `memory` is the part of 1,000 MB in use."""
    fills = () if memory is None else (Fill("memory", int(memory * 1000 * MB), 1000 * MB),)
    return Signals(0.0, delay_s, target_s, refused, offered, memory=fills, exhausted=exhausted)


def steady(found: Signals) -> Callable[[float], Signals]:
    return lambda _: found


QUIET = steady(signals())
AT_HIGH = Standing(0, LONG_AGO_S)
AT_LOW = Standing(1, LONG_AGO_S, "load")


def test_what_serves_goes_on_where_nothing_happens() -> None:
    for decision in looks(TWO, AT_HIGH, QUIET, seconds=20):
        assert (decision.name, decision.cause, decision.interims) == (HIGH.name, "start", True)
        assert decision.reason == "the best rung; queue delay 0.00 s of 0.89 s allowed"


def test_a_ladder_without_a_rung_cannot_serve() -> None:
    with pytest.raises(ValueError, match="a rung at least"):
        decide(Ladder(()), Standing(), Orders(), signals())


def test_a_ladder_of_one_rung_stays_and_says_why() -> None:
    one = Ladder((HIGH,))
    for decision in looks(one, AT_HIGH, steady(signals(delay_s=LATE_S, refused=3)), seconds=10):
        assert decision.name == HIGH.name
        assert decision.reason == "3 recordings were refused, and no rung below is quicker"


def test_a_delay_that_stays_over_half_of_what_is_allowed_steps_down() -> None:
    when_s, decision = moved(TWO, AT_HIGH, steady(signals(delay_s=PRESSED_S)))
    assert when_s == 0.5
    assert (decision.name, decision.cause) == (LOW.name, "load")
    assert decision.reason == "queue delay 0.46 s is over 0.45 s; 237 times real time instead of 107"


@pytest.mark.parametrize("found", [signals(delay_s=LATE_S), signals(refused=1)])
def test_a_target_that_is_missed_and_a_refusal_step_down_at_once(found: Signals) -> None:
    assert moved(TWO, AT_HIGH, steady(found))[0] == 0.0


def test_a_delay_below_half_of_what_is_allowed_is_none() -> None:
    assert first_move(TWO, AT_HIGH, steady(signals(delay_s=0.49 * ALLOWED_S)), seconds=60) is None


def test_a_short_burst_is_left_to_pass() -> None:
    assert first_move(TWO, AT_HIGH, lambda s: signals(delay_s=PRESSED_S if s % 2 < 0.5 else 0.0), seconds=60) is None


def test_half_of_the_target_is_allowed_where_the_rung_alone_takes_longer() -> None:
    slow = Ladder((replace(HIGH, latency_ms=2000), LOW))
    assert first_move(slow, AT_HIGH, steady(signals(delay_s=0.24))) is None
    assert first_move(slow, AT_HIGH, steady(signals(delay_s=0.26))) is not None
    unknown = Ladder((Rung("tiny:fp32"), LOW))
    assert first_move(unknown, AT_HIGH, steady(signals(delay_s=0.24))) is None
    assert first_move(unknown, AT_HIGH, steady(signals(delay_s=0.26))) is not None


def test_who_waited_before_a_rung_served_says_nothing_of_it() -> None:
    standing = Standing(1, 0.0, "load")
    when_s, _ = moved(THREE, standing, lambda s: signals(delay_s=2 + 0.5 * s))
    assert when_s > 4  # when 2 + s / 2 < s


def test_a_delay_that_eases_after_a_step_down_is_left_to() -> None:
    standing = Standing(1, 0.0, "load")
    draining = first_move(THREE, standing, lambda s: signals(delay_s=max(0.0, 2.5 - 0.3 * s), offered=100))
    assert draining is None
    assert moved(THREE, standing, lambda s: signals(delay_s=2.5 - 0.001 * s, offered=100))[1].cause == "load"


def test_nothing_moves_so_soon_after_a_move() -> None:
    late = steady(signals(delay_s=0.1 + LATE_S, refused=5, exhausted=1, memory=0.99))
    when_s, _ = moved(THREE, Standing(1, 0.0, "load"), late)
    assert when_s >= SETTLE_S


def test_a_rung_that_is_not_quicker_is_no_help_against_load() -> None:
    odd = Ladder((HIGH, replace(MIDDLE, speed=90), LOW))
    assert moved(odd, AT_HIGH, steady(signals(refused=1)))[1].name == LOW.name
    assert first_move(Ladder(odd.rungs[:2]), AT_HIGH, steady(signals(refused=1))) is None
    unmeasured = Ladder((replace(HIGH, speed=None), replace(MIDDLE, speed=None)))
    assert moved(unmeasured, AT_HIGH, steady(signals(refused=1)))[1].reason.endswith("tiny:bf16 is the next rung")


def test_a_memory_that_stays_full_steps_down_to_what_takes_less() -> None:
    when_s, decision = moved(THREE, AT_HIGH, steady(signals(memory=0.96)))
    assert when_s == 1.0
    assert (decision.name, decision.cause) == (LOW.name, "memory")  # the middle one takes more
    assert decision.reason == "memory is full: 960 MB of 1000 MB"


def test_a_memory_that_is_full_for_a_moment_moves_nothing() -> None:
    assert first_move(THREE, AT_HIGH, lambda s: signals(memory=0.99 if s % 2 < 1 else 0.9)) is None


def test_computations_that_ran_out_of_memory_step_down_at_once() -> None:
    when_s, decision = moved(THREE, AT_HIGH, steady(signals(exhausted=2)))
    assert when_s == 0.0
    assert (decision.name, decision.reason) == (LOW.name, "2 computations ran out of memory")


def test_where_no_rung_takes_less_memory_it_stays() -> None:
    large = Ladder((HIGH, MIDDLE))
    *_, decision = looks(large, AT_HIGH, steady(signals(memory=0.99)), seconds=5)
    assert decision.reason == "memory is full: 990 MB of 1000 MB, and no rung below takes less"
    half_known = Ladder((HIGH, replace(LOW, memory_bytes=None)))
    assert first_move(half_known, AT_HIGH, steady(signals(memory=0.99))) is None
    unknown = Ladder(tuple(replace(rung, memory_bytes=None) for rung in TWO.rungs))
    assert moved(unknown, AT_HIGH, steady(signals(memory=0.99)))[1].cause == "memory"


def test_load_moves_it_where_memory_cannot() -> None:
    large = Ladder((HIGH, MIDDLE))
    assert moved(large, AT_HIGH, steady(signals(memory=0.99, delay_s=LATE_S)))[1].cause == "load"


def test_memory_that_is_not_freed_yet_makes_no_second_step() -> None:
    ladder = Ladder((HIGH, replace(MIDDLE, memory_bytes=440 * MB), LOW))
    standing = Standing(1, 0.0, "memory")
    assert moved(ladder, standing, steady(signals(memory=0.99)))[0] == RELEASE_S
    assert moved(ladder, standing, steady(signals(memory=0.99, exhausted=1)))[0] == SETTLE_S


def test_a_memory_without_a_limit_is_never_full() -> None:
    unlimited = Signals(0.0, memory=(Fill("memory", 10**12, 0),))
    assert first_move(TWO, AT_HIGH, steady(unlimited)) is None
    assert moved(TWO, AT_LOW, steady(unlimited))[1].cause == "calm"


def test_calm_steps_up_after_a_while() -> None:
    when_s, decision = moved(TWO, AT_LOW, steady(signals(offered=30)))
    assert when_s == PATIENCE_S
    assert (decision.name, decision.cause) == (HIGH.name, "calm")
    assert decision.reason == "calm for 10 s; 30 s of audio a second come and tiny:fp32 computes 107"


def test_calm_that_is_disturbed_a_little_takes_longer_and_pressure_ends_it() -> None:
    disturbed = moved(TWO, AT_LOW, lambda s: signals(delay_s=0.3 if s == 5 else 0.0))
    assert PATIENCE_S < disturbed[0] <= PATIENCE_S + 3
    pressed = moved(TWO, AT_LOW, lambda s: signals(delay_s=0.6 if s == 5 else 0.0))
    assert pressed[0] == 5 + LOOK_S + PATIENCE_S
    assert first_move(TWO, AT_LOW, lambda s: signals(delay_s=0.3 if s % 1 == 0 else 0.0), seconds=300) is None


def test_a_rung_that_could_not_carry_what_comes_is_not_tried() -> None:
    assert first_move(TWO, AT_LOW, steady(signals(offered=70)), seconds=300) is None
    *_, decision = looks(TWO, AT_LOW, steady(signals(offered=70)), seconds=5)
    assert decision.reason == (
        "no calm: 70 s of audio a second come and tiny:fp32 computes 107, of which 60% may be taken"
    )


def test_a_step_up_is_to_the_best_rung_that_could_carry_what_comes() -> None:
    lowest = Standing(2, LONG_AGO_S, "load")
    assert moved(THREE, lowest, steady(signals(offered=20)))[1].name == HIGH.name
    assert moved(THREE, lowest, steady(signals(offered=90)))[1].name == MIDDLE.name
    unknown = Ladder((replace(HIGH, speed=None), LOW))
    assert moved(unknown, AT_LOW, steady(signals(offered=500)))[1].name == HIGH.name


def test_a_rung_that_memory_has_no_room_for_is_not_tried() -> None:
    assert first_move(TWO, AT_LOW, steady(signals(memory=0.86)), seconds=60) is None
    *_, decision = looks(TWO, AT_LOW, steady(signals(memory=0.86)), seconds=5)
    assert decision.reason == "no calm: the memory has no room for tiny:fp32"
    assert moved(TWO, AT_LOW, steady(signals(memory=0.84)))[1].cause == "calm"
    smaller_above = Ladder((replace(HIGH, memory_bytes=300 * MB), LOW))
    assert moved(smaller_above, AT_LOW, steady(signals(memory=0.9)))[1].cause == "calm"


def test_after_a_step_for_memory_the_way_up_counts_what_it_would_take() -> None:
    freed = replace(AT_LOW, cause="memory")
    assert first_move(TWO, freed, steady(signals(memory=0.80)), seconds=60) is None  # 63 MB more are 86 %
    assert moved(TWO, freed, steady(signals(memory=0.78)))[1].cause == "calm"


def test_a_step_up_that_does_not_last_doubles_the_patience_and_one_that_does_restores_it() -> None:
    def down_after(here_s: float, patience_s: float) -> float:
        risen = Standing(0, -here_s, "calm", patience_s=patience_s)
        return moved(TWO, risen, steady(signals(refused=1)))[1].standing.patience_s

    assert down_after(20, PATIENCE_S) == 2 * PATIENCE_S
    assert down_after(20, 500) == MOST_PATIENCE_S
    assert down_after(200, 80) == 80
    assert down_after(301, 80) == PATIENCE_S


def test_interim_results_go_first_and_come_back_after_a_while() -> None:
    pressed = 0.51 * ALLOWED_S
    found = list(looks(TWO, AT_HIGH, lambda s: signals(delay_s=pressed if s == 1 else 0.0), seconds=10))
    without = [index * LOOK_S for index, decision in enumerate(found) if not decision.interims]
    assert (without[0], without[-1]) == (1.0, 1 + INTERIMS_S - LOOK_S)
    assert {decision.name for decision in found} == {HIGH.name}
    assert not next(iter(looks(TWO, AT_HIGH, steady(signals(memory=0.96)), seconds=0))).interims


def test_a_pin_is_obeyed_whatever_the_load_and_on_no_ladder() -> None:
    for pin in (HIGH.name, LOW.name, "other:fp16"):
        overload = steady(signals(refused=9, delay_s=5, memory=0.99, exhausted=1))
        for decision in looks(TWO, AT_HIGH, overload, seconds=10, orders=Orders(pin=pin)):
            assert (decision.name, decision.cause) == (pin, "order")
            assert decision.standing.rung == (TWO.place(pin) or 0)


def test_the_clocks_begin_anew_when_a_pin_is_taken_off() -> None:
    *_, pinned = looks(THREE, AT_LOW, QUIET, seconds=100, orders=Orders(pin=MIDDLE.name))
    freed = decide(THREE, pinned.standing, Orders(), replace(signals(refused=1), now_s=100.25))
    assert (freed.name, freed.cause) == (MIDDLE.name, "order")
    again = decide(THREE, pinned.standing, Orders(), replace(signals(refused=1), now_s=100.25 + SETTLE_S))
    assert again.standing.rung == 2


def test_a_pin_that_failed_leaves_the_choice_to_the_ladder_and_says_so() -> None:
    orders = Orders(pin="tiny:int4")
    decision = decide(TWO, AT_HIGH, orders, signals(), blocked={"tiny:int4"})
    assert decision.name == HIGH.name
    assert decision.reason.startswith("tiny:int4 is pinned and failed; the best rung")


def test_bounds_bring_it_within_at_once_and_keep_it_there() -> None:
    when_s, decision = first_move(THREE, AT_HIGH, QUIET, orders=Orders(highest=MIDDLE.name)) or (math.nan, None)
    assert decision is not None
    assert (when_s, decision.name, decision.cause) == (0.0, MIDDLE.name, "order")
    assert decision.reason == "an operator's bounds leave out tiny:fp32"
    lowest = Standing(2, LONG_AGO_S, "load")
    assert next(iter(looks(THREE, lowest, QUIET, seconds=0, orders=Orders(lowest=MIDDLE.name)))).name == MIDDLE.name
    middle = Standing(1, LONG_AGO_S, "load")
    both = Orders(highest=MIDDLE.name, lowest=MIDDLE.name)
    assert first_move(THREE, middle, steady(signals(refused=1)), orders=both) is None
    assert first_move(THREE, middle, QUIET, orders=both) is None
    *_, decision = looks(THREE, middle, QUIET, seconds=1, orders=both)
    assert decision.reason.startswith("no better rung may serve")


def test_bounds_that_are_not_on_the_ladder_bind_nothing() -> None:
    decision = decide(TWO, AT_HIGH, Orders(highest="a:b", lowest="c:d"), signals())
    assert decision.name == HIGH.name


def test_a_rung_that_failed_is_passed_over_in_both_directions() -> None:
    blocked = {MIDDLE.name}
    down = first_move(THREE, AT_HIGH, steady(signals(refused=1)), blocked=blocked)
    up = first_move(THREE, Standing(2, LONG_AGO_S), steady(signals(offered=20)), blocked=blocked)
    assert [found[1].name for found in (down, up) if found] == [LOW.name, HIGH.name]


@pytest.mark.parametrize(
    ("rung", "blocked", "name"),
    [
        (1, {MIDDLE.name}, LOW.name),
        (2, {LOW.name}, MIDDLE.name),
        (2, {LOW.name, MIDDLE.name}, HIGH.name),
        (0, {HIGH.name, MIDDLE.name}, LOW.name),
    ],
)
def test_off_a_rung_that_fails_it_goes_to_the_next_below_or_else_above(rung: int, blocked: set[str], name: str) -> None:
    decision = decide(THREE, Standing(rung, LONG_AGO_S), Orders(), signals(), blocked=blocked)
    assert (decision.name, decision.cause) == (name, "failure")
    assert decision.reason.endswith("cannot serve for now, for it failed")


def test_where_all_rungs_failed_it_stays() -> None:
    blocked = {rung.name for rung in THREE.rungs}
    decision = decide(THREE, Standing(1, LONG_AGO_S), Orders(), signals(refused=1), blocked=blocked)
    assert (decision.name, decision.reason) == (MIDDLE.name, "every rung that may serve has failed")


def test_a_standing_is_where_the_variant_is_and_fits_a_shorter_ladder() -> None:
    assert settled(THREE, LOW.name, 5.0) == Standing(2, 5.0, "start")
    assert settled(THREE, "other:fp32", 5.0, cause="plan") == Standing(0, 5.0, "plan")
    assert decide(TWO, Standing(2, LONG_AGO_S), Orders(), signals()).name == LOW.name
