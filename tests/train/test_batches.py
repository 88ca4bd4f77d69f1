"""Which examples are in which batch."""

import numpy as np
import pytest

from model_store.train.batches import Batches

LENGTHS = [float(one) for one in np.random.default_rng(1).uniform(0.5, 30, 200)]


def batches(seed: int = 0) -> Batches:
    return Batches(LENGTHS, seconds=40, rows=16, seed=seed)


def epoch(one: Batches) -> list[tuple[int, ...]]:
    """Batches until each example has been in one."""
    found: list[tuple[int, ...]] = []
    while sum(len(batch) for batch in found) < len(LENGTHS):
        found.append(one.batch(len(found)))
    return found


def test_every_example_comes_once_an_epoch() -> None:
    seen = sorted(example for batch in epoch(batches()) for example in batch)
    assert seen == list(range(len(LENGTHS)))


def test_a_batch_is_no_longer_than_asked_with_its_padding() -> None:
    for batch in epoch(batches()):
        assert len(batch) == 1 or len(batch) * max(LENGTHS[one] for one in batch) <= 40
        assert len(batch) <= 16


def test_batches_have_little_padding() -> None:
    padded = sum(len(batch) * max(LENGTHS[one] for one in batch) for batch in epoch(batches()))
    assert padded < 1.25 * sum(LENGTHS)


def test_a_batch_follows_from_seed_and_number_alone() -> None:
    forward, backward = batches(), batches()
    assert [forward.batch(number) for number in range(90)] == [backward.batch(n) for n in reversed(range(90))][::-1]
    assert epoch(batches(1)) != epoch(batches())


def test_the_second_epoch_has_another_order() -> None:
    first = epoch(batches())
    again = [batches().batch(number) for number in range(len(first), 2 * len(first))]
    assert again != first


def test_no_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="no examples"):
        Batches([], seconds=40, rows=16, seed=0)
