import random

import pytest

from service.engine.forming import (
    JOIN_MARGIN,
    Batch,
    EncodeCosts,
    Layout,
    Point,
    State,
    best_layout,
    decide,
    form,
    lane_length,
    layouts,
    rows_worth,
)

LENGTHS = (100, 400, 1500)

CPU = EncodeCosts(tuple(Point(rows, length, 0.05 * rows * length) for rows in (1, 2, 4, 8) for length in LENGTHS))
"""Time goes by padded positions: company saves nothing."""

GPU = EncodeCosts(
    tuple(Point(rows, length, 5 + 0.0005 * rows * length) for rows in (1, 2, 4, 8, 16) for length in LENGTHS)
)
"""Mostly a fixed cost: company is nearly free."""


def test_costs_are_those_measured() -> None:
    for costs in (CPU, GPU):
        for point in costs.points:
            assert costs.cost_ms(point.rows, point.length) == pytest.approx(point.ms, abs=1e-9)


def test_costs_between_points_lie_on_lines() -> None:
    costs = EncodeCosts((Point(1, 100, 10), Point(1, 200, 20), Point(4, 100, 25), Point(4, 200, 65)))
    assert costs.cost_ms(1, 150) == pytest.approx(15)
    assert costs.cost_ms(2, 100) == pytest.approx(15)
    assert costs.cost_ms(3, 150) == pytest.approx((15 + 2 * 45) / 3)


def test_costs_beyond_the_points_are_in_proportion() -> None:
    costs = EncodeCosts((Point(2, 100, 10), Point(4, 100, 16), Point(4, 200, 24)))
    assert costs.cost_ms(1, 100) == pytest.approx(5)
    assert costs.cost_ms(8, 100) == pytest.approx(32)
    assert costs.cost_ms(4, 50) == pytest.approx(8)
    assert costs.cost_ms(4, 300) == pytest.approx(36)


def test_costs_of_one_point_are_in_proportion() -> None:
    costs = EncodeCosts((Point(1, 500, 40),))
    assert costs.cost_ms(2, 250) == pytest.approx(40)


def test_costs_do_not_mind_the_order_of_points() -> None:
    assert EncodeCosts(CPU.points[::-1]).cost_ms(3, 333) == CPU.cost_ms(3, 333)


def test_costs_need_a_point() -> None:
    with pytest.raises(ValueError, match="measured point"):
        EncodeCosts(())


def test_nobody_makes_no_batch() -> None:
    assert form((), CPU, most=8) == Batch((), "nobody waits")


@pytest.mark.parametrize("costs", [CPU, GPU])
@pytest.mark.parametrize("most", [0, 1])
def test_the_first_goes_alone_where_rows_are_few(costs: EncodeCosts, most: int) -> None:
    assert form((700, 700), costs, most=most).picked == (0,)


def test_a_processor_encodes_one_by_one() -> None:
    assert form((500,) * 8, CPU, most=8).picked == (0,)


def test_a_gpu_encodes_together_as_many_as_may() -> None:
    assert form((500,) * 20, GPU, most=16).picked == tuple(range(16))


def test_a_row_that_would_pad_all_others_stays_out() -> None:
    costs = EncodeCosts(
        tuple(Point(rows, length, 2 + 0.02 * rows * length) for rows in (1, 8) for length in (50, 1500))
    )
    assert form((50, 60, 1500, 55, 1400), costs, most=8).picked == (0, 1, 3)
    assert form((1500, 50), costs, most=8).picked == (0,)


def test_the_reason_gives_the_figures() -> None:
    reason = form(
        (100, 100, 1500), EncodeCosts((Point(1, 100, 6), Point(2, 100, 9), Point(1, 1500, 90))), most=2
    ).reason
    assert reason == "2 of 3 that wait: 9 ms together, 12 ms apart"


def test_a_gain_within_the_margin_is_none() -> None:
    tight = EncodeCosts((Point(1, 100, 10), Point(2, 100, 20 * (1 - 0.9 * JOIN_MARGIN))))
    clear = EncodeCosts((Point(1, 100, 10), Point(2, 100, 20 * (1 - 1.1 * JOIN_MARGIN))))
    assert form((100, 100), tight, most=2).picked == (0,)
    assert form((100, 100), clear, most=2).picked == (0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_a_batch_is_never_slower_than_its_rows_apart(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(50):
        fixed_ms, each_ms = draw.uniform(0, 10), draw.uniform(0.001, 0.1)
        costs = EncodeCosts(
            tuple(Point(n, length, fixed_ms + each_ms * n * length) for n in (1, 2, 4, 8) for length in LENGTHS)
        )
        lengths = [draw.randrange(20, 1500) for _ in range(draw.randrange(1, 20))]
        most = draw.randrange(1, 9)
        picked = form(lengths, costs, most=most).picked
        assert picked[0] == 0
        assert len(picked) <= most
        assert list(picked) == sorted(set(picked))
        together_ms = costs.cost_ms(len(picked), max(lengths[index] for index in picked))
        assert together_ms <= sum(costs.cost_ms(1, lengths[index]) for index in picked) + 1e-9


@pytest.mark.parametrize(
    ("state", "action"),
    [
        (State(running=0, capacity=8, waiting=0, encodes_since_step=0), "idle"),
        (State(running=0, capacity=8, waiting=0, encodes_since_step=1), "idle"),
        (State(running=0, capacity=8, waiting=3, encodes_since_step=0), "encode"),
        (State(running=0, capacity=8, waiting=3, encodes_since_step=1), "encode"),
        (State(running=2, capacity=8, waiting=3, encodes_since_step=0), "encode"),
        (State(running=2, capacity=8, waiting=3, encodes_since_step=1), "step"),
        (State(running=2, capacity=8, waiting=0, encodes_since_step=0), "step"),
        (State(running=8, capacity=8, waiting=3, encodes_since_step=0), "step"),
        (State(running=9, capacity=8, waiting=3, encodes_since_step=0), "step"),
    ],
)
def test_what_comes_next(state: State, action: str) -> None:
    decision = decide(state)
    assert decision.action == action
    assert decision.reason


@pytest.mark.parametrize("seed", range(10))
def test_rows_are_never_starved_and_work_is_never_left(seed: int) -> None:
    """Rows that run make a step after one encoder batch at most, and all who wait are decoded in the end."""
    draw = random.Random(seed)
    running: list[int] = []
    waiting, since_step, done = 40, 0, 0
    while True:
        action = decide(State(len(running), 8, waiting, since_step)).action
        if action == "idle":
            break
        if action == "encode":
            since_step += 1
            rows = min(draw.randrange(1, 4), waiting, 8 - len(running))
            waiting -= rows
            running += [draw.randrange(1, 30) for _ in range(rows)]
        else:
            since_step = 0
            done += running.count(1)
            running = [left - 1 for left in running if left > 1]
        assert since_step <= 1
        assert len(running) <= 8
    assert done == 40


def test_rows_are_as_few_as_come_near_the_best() -> None:
    step_ms = {1: 1.4, 2: 1.7, 4: 2.4, 8: 3.9, 16: 7.6}
    rows, reason = rows_worth(step_ms, 20, steps=30, most=64)
    assert rows == 8
    assert reason == "8 rows: 34.6 ms a window; the best is 34.2 ms with 16"


def test_rows_are_no_more_than_there_is_memory_for() -> None:
    step_ms = {2: 1.7, 4: 2.4, 8: 3.9}
    assert rows_worth(step_ms, 20, steps=30, most=5)[0] == 4
    assert rows_worth(step_ms, 20, steps=30, most=1)[0] == 1


def test_an_encoder_that_takes_all_the_time_needs_no_rows() -> None:
    assert rows_worth({1: 1.0, 8: 1.5}, 10_000, steps=30, most=8)[0] == 1


def test_rows_need_a_measurement() -> None:
    with pytest.raises(ValueError, match="measured step"):
        rows_worth({}, 20, steps=30, most=8)


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (1, [(1, 1)]),
        (2, [(1, 2), (2, 1)]),
        (4, [(1, 4), (2, 2), (4, 1)]),
        (6, [(1, 6), (2, 3), (6, 1)]),
        (7, [(1, 7), (2, 3), (7, 1)]),
        (16, [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)]),
    ],
)
def test_layouts_share_out_the_cores(cores: int, expected: list[tuple[int, int]]) -> None:
    assert [(layout.executors, layout.threads) for layout in layouts(cores)] == expected


@pytest.mark.parametrize("cores", range(1, 130))
def test_layouts_never_want_more_than_there_is(cores: int) -> None:
    found = layouts(cores)
    assert Layout(1, cores) in found
    assert Layout(cores, 1) in found
    assert all(layout.threads >= 1 and layout.executors * layout.threads <= cores for layout in found)


def test_layouts_need_a_core() -> None:
    with pytest.raises(ValueError, match="a core at least"):
        layouts(0)


def test_the_fastest_layout_is_chosen() -> None:
    best, reason = best_layout({Layout(1, 2): 40.0, Layout(2, 1): 61.0})
    assert best == Layout(2, 1)
    assert reason == "2 x 1 threads reach 61 of 61, the highest of 2 measured"


def test_fewer_executors_win_where_it_hardly_matters() -> None:
    measured = {Layout(4, 1): 64.0, Layout(2, 2): 60.0, Layout(1, 4): 50.0}
    assert best_layout(measured)[0] == Layout(2, 2)


def test_a_layout_needs_a_measurement() -> None:
    with pytest.raises(ValueError, match="measured layout"):
        best_layout({})


BUCKETS = (64, 128, 256, 512)


def lane(needed: int, *open_lengths: int, position_ms: float = 0.01, step_ms: float = 1.0) -> int:
    return lane_length(needed, open_lengths, BUCKETS, position_ms=position_ms, step_ms=step_ms)


@pytest.mark.parametrize(("needed", "bucket"), [(0, 64), (1, 64), (64, 64), (65, 128), (511, 512), (512, 512)])
def test_a_first_row_opens_the_smallest_bucket_that_fits(needed: int, bucket: int) -> None:
    assert lane(needed) == bucket


def test_a_row_joins_where_padding_costs_less_than_a_step_more() -> None:
    assert lane(60, 128) == 128
    assert lane(60, 512, 128) == 128
    assert lane(60, 512) == 64
    assert lane(60, 512, step_ms=5.0) == 512


def test_a_row_joins_the_open_batch_if_it_costs_the_same() -> None:
    assert lane(60, 164, position_ms=0.01, step_ms=1.0) == 164
    assert lane(60, 165, position_ms=0.01, step_ms=1.0) == 64


def test_a_row_does_not_join_what_is_too_short() -> None:
    assert lane(100, 64) == 128


def test_a_row_that_fits_nowhere_is_refused_with_the_figures() -> None:
    with pytest.raises(ValueError, match="513 positions fit no decode batch; the longest is 512"):
        lane(513, 1024)
