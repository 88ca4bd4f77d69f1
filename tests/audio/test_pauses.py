import numpy as np
import pytest

from service.audio.pauses import FRAME, REACH, REST, levels, quietest, rests
from service.audio.types import SAMPLE_RATE
from tests.audio.speech import talk


@pytest.mark.parametrize("length", [0, 1, FRAME - 1, FRAME, FRAME + 1, 10 * FRAME])
def test_level_is_the_mean_power_of_each_10_ms(length: int) -> None:
    samples = np.random.default_rng(1).standard_normal(length).astype(np.float32)
    expected = [float(np.sum(samples[i : i + FRAME] ** 2)) / FRAME for i in range(0, length, FRAME)]
    np.testing.assert_allclose(levels(samples), expected, rtol=1e-5)


@pytest.mark.parametrize("length", [1, FRAME, FRAME + 1, REACH * FRAME, 3 * SAMPLE_RATE + 5])
def test_even_the_shortest_recording_has_a_rest(length: int) -> None:
    assert len(rests(levels(talk()[:length]))) >= 1


def test_a_rest_is_as_quiet_as_what_is_near() -> None:
    level = levels(talk())
    inside = [rest for rest in rests(level).tolist() if REACH < rest < len(level) - REACH]
    assert len(inside) > 5
    for rest in inside:
        near = np.convolve(level[rest - REACH : rest + REACH], np.ones(REST), mode="valid")
        here = np.sum(level[rest - REST // 2 : rest + REST // 2])
        assert here <= max(1.01 * near.min(), 1e-4 * REST * level.max())


def test_speech_has_a_rest_every_few_seconds() -> None:
    level = levels(talk())
    assert len(level) / 800 < len(rests(level)) < len(level) / 200


def test_a_word_between_silences_has_a_rest_before_it() -> None:
    word = np.ones(40, np.float32)
    level = np.concatenate([np.zeros(80, np.float32), word, np.zeros(100, np.float32)])
    assert rests(level).tolist() == [80 - REST // 2]
    assert rests(word).tolist() == [-REST // 2]


@pytest.mark.parametrize("silence", [1, 7, 50, 300])
def test_silence_before_moves_every_rest_by_as_much(silence: int) -> None:
    level = levels(talk())
    longer = np.concatenate([np.zeros(silence, np.float32), level])
    assert rests(longer).tolist() == (rests(level) + silence).tolist()


def test_silence_inside_leaves_rests_out_of_reach_on_the_same_sound() -> None:
    level = levels(talk())
    cut, silence = 1000, 437
    longer = np.concatenate([level[:cut], np.zeros(silence, np.float32), level[cut:]])
    far = [rest for rest in rests(level).tolist() if rest > cut + 2 * REACH]
    assert [rest - silence for rest in rests(longer).tolist() if rest - silence > cut + 2 * REACH] == far


def test_quietest_is_the_middle_of_the_quiet_300_ms() -> None:
    level = np.ones(200, np.float32)
    level[100:130] = 0
    assert quietest(level, 0, 200) == 115


def test_quietest_stays_within_its_bounds() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        level = rng.random(int(rng.integers(1, 100))).astype(np.float32)
        first = int(rng.integers(0, len(level)))
        last = int(rng.integers(first, len(level) + 1))
        assert first <= quietest(level, first, last) <= last


def test_quietest_takes_the_last_of_equals() -> None:
    assert quietest(np.zeros(100, np.float32), 20, 80) == 80
