import numpy as np
import pytest

from service.backends.repetition import LONGEST_CYCLE, TIMES, TOKENS, looping, unlooped


@pytest.mark.parametrize("cycle", [1, 2, 3, 5, 6, 7, 16, LONGEST_CYCLE])
def test_a_phrase_said_over_and_over_is_a_loop(cycle: int) -> None:
    phrase, before = list(range(100, 100 + cycle)), [1, 2, 3]
    needed = max(TIMES * cycle, TOKENS)
    said = before + (phrase * TOKENS)[:needed]
    assert looping(said)
    assert not looping(said[:-1])
    assert unlooped(said) == len(before) + cycle


@pytest.mark.parametrize("repeats", [4, 5, 9])
def test_a_loop_that_ends_within_its_phrase_is_cut_to_the_phrase_once(repeats: int) -> None:
    phrase = [7, 8, 9, 10, 11]
    said = [1, 2, *phrase * repeats, 7, 8]
    assert looping(said)
    assert said[: unlooped(said)] == [1, 2, *phrase]


@pytest.mark.parametrize(
    "said",
    [
        [],
        [5],
        [5] * (TOKENS - 1),  # no, no, no, no
        list(range(300)),
        [1, 2, 3, 4, 5] * (TIMES - 1),
        [1, 2, 3, 4] * 4 + [9],  # it looped and went on
        list(range(LONGEST_CYCLE + 1)) * TIMES,
    ],
)
def test_speech_is_no_loop(said: list[int]) -> None:
    assert not looping(said)
    assert unlooped(said) == len(said)


def test_a_loop_is_seen_as_soon_as_it_is_one() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        cycle = int(rng.integers(1, LONGEST_CYCLE + 1))
        said = [*rng.integers(0, 9, 12).tolist(), *np.resize(rng.permutation(1000)[:cycle] + 10, 120).tolist()]
        first = next(count for count in range(len(said) + 1) if looping(said[:count]))
        assert first <= 12 + max(TIMES * cycle, TOKENS)
