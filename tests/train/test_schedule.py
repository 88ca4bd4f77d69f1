"""Rates."""

import pytest

from model_store.train.schedule import Schedule, share


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_rate_goes_up_then_down(schedule: Schedule) -> None:
    rates = [share(step, 100, schedule=schedule, warm_up=0.2) for step in range(100)]
    top = rates.index(max(rates))
    assert top == 20
    assert rates[top] == pytest.approx(1)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_one_cycle_ends_at_next_to_nothing_and_cosine_at_a_tenth() -> None:
    assert share(99, 100, schedule="one-cycle", warm_up=0.2) < 0.001
    assert share(99, 100, schedule="cosine", warm_up=0.2) == pytest.approx(0.1, abs=0.001)


def test_without_a_warm_up_the_first_step_has_the_peak() -> None:
    assert share(0, 10, schedule="cosine", warm_up=0) == 1
