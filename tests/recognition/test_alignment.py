import numpy as np
import numpy.typing as npt
import pytest

from service.recognition.alignment import token_positions, warp

Costs = npt.NDArray[np.float64]
SHAPES = [(1, 1), (1, 30), (30, 1), (2, 2), (2, 50), (5, 5), (7, 3), (13, 80), (60, 61), (100, 750)]


def cheapest(cost: Costs) -> float:
    """The cost of the cheapest path from corner to corner by one down, one on, or both."""
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    for row in range(rows):
        for column in range(columns):
            before = min(total[row, column], total[row, column + 1], total[row + 1, column])
            total[row + 1, column + 1] = cost[row, column] + before
    return float(total[-1, -1])


def between(cost: Costs, entries: npt.NDArray[np.int64]) -> float:
    """The cost of the cheapest path that enters each row where `entries` says."""
    rows, columns = cost.shape
    total = 0.0
    for row in range(rows):
        last = columns - 1 if row == rows - 1 else entries[row + 1]
        # A row is left straight down, or by a diagonal from the column before: whichever is the cheaper.
        stays = [cost[row, entries[row] : end + 1].sum() for end in (last, last - 1) if end >= entries[row]]
        total += min(stays) if row < rows - 1 else stays[0]
    return float(total)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["normal", "positive", "whole numbers"])
def test_the_path_is_the_cheapest(shape: tuple[int, int], kind: str) -> None:
    rng = np.random.default_rng(sum(shape))
    cost = {
        "normal": rng.standard_normal(shape),
        "positive": rng.random(shape) + 0.1,
        "whole numbers": rng.integers(-2, 3, shape).astype(np.float64),
    }[kind]
    entries = warp(cost)
    assert len(entries) == shape[0]
    assert entries[0] == 0
    assert (np.diff(entries) >= 0).all()
    assert entries[-1] < shape[1]
    assert between(cost, entries) == pytest.approx(cheapest(cost))


def test_a_clear_path_is_followed() -> None:
    cost = np.ones((4, 40))
    for row, (first, last) in enumerate([(0, 7), (7, 20), (20, 21), (21, 40)]):
        cost[row, first:last] = 0
    assert warp(cost).tolist() == [0, 7, 20, 21]


def attention(starts: list[int], length: int, *, heads: int = 3) -> npt.NDArray[np.float32]:
    """Token i looks at positions from starts[i] up to the next."""
    found = np.full((heads, len(starts), length), 1e-4, np.float32)
    for row, (first, last) in enumerate(zip(starts, [*starts[1:], length], strict=True)):
        found[:, row, first:last] = 1
    return np.asarray(found / found.sum(axis=-1, keepdims=True), np.float32)


@pytest.mark.parametrize("starts", [[0, 12, 30, 55], [0, 20, 40, 60], [0, 10]])
def test_tokens_begin_where_the_attention_moves_on(starts: list[int]) -> None:
    found = token_positions(attention(starts, 80), 80)
    assert np.abs(found - starts).max() <= 3


def test_what_lies_behind_the_audio_does_not_count() -> None:
    looks = attention([0, 12, 30, 55], 80)
    padded = np.concatenate([looks, np.full((3, 4, 40), 0.5, np.float32)], axis=-1)
    np.testing.assert_array_equal(token_positions(padded, 80), token_positions(looks, 80))


@pytest.mark.parametrize("positions", [0, 1, 2, 3, 6, 7, 8])
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_windows_too_short_for_the_filter_have_positions(positions: int, rows: int) -> None:
    looks = np.random.default_rng(1).random((2, rows, max(1, positions))).astype(np.float32)
    found = token_positions(looks, positions)
    assert len(found) == rows
    assert ((found >= 0) & (found <= max(0, positions))).all()


def test_attention_that_is_everywhere_alike_does_no_harm() -> None:
    found = token_positions(np.full((2, 5, 50), 0.02, np.float32), 50)
    assert (np.diff(found) >= 0).all()
