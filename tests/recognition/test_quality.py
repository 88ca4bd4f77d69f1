import numpy as np
import pytest

from service.backends.sequences import Hypothesis
from service.recognition.quality import best, compression_ratio, doubt, silent

SPEECH = b" The quick brown fox jumps over the lazy dog."
LOOP = b" and then" * 30


def hypothesis(logprob: float = -0.2, *, no_speech: float = 0.0, looped: bool = False, tokens: int = 9) -> Hypothesis:
    return Hypothesis(
        tokens=tuple(range(tokens)),
        logprobs=(logprob,) * tokens,
        end_logprob=logprob,
        no_speech_prob=no_speech,
        temperature=0.0,
        looped=looped,
        attention=np.zeros((1, tokens + 1, 5), np.float32),
        probed=np.empty(0, np.float32),
    )


def test_the_mean_log_probability_counts_the_end() -> None:
    assert hypothesis(-0.5).avg_logprob == pytest.approx(-0.5)
    assert hypothesis(-0.5, tokens=0).avg_logprob == -0.5


@pytest.mark.parametrize(
    ("logprob", "no_speech", "expected"), [(-1.1, 0.7, True), (-0.9, 0.9, False), (-3, 0.5, False)]
)
def test_silence_takes_both_doubt_and_the_models_word(logprob: float, no_speech: float, expected: bool) -> None:
    assert silent(hypothesis(logprob, no_speech=no_speech)) == expected


def test_speech_is_believed() -> None:
    assert doubt(hypothesis(), SPEECH) is None
    assert doubt(hypothesis(tokens=0), b"") is None


def test_doubt_names_its_reason() -> None:
    assert "repeats itself" in (doubt(hypothesis(looped=True), SPEECH) or "")
    assert "compression ratio" in (doubt(hypothesis(), LOOP) or "")
    assert "log-probability -1.20" in (doubt(hypothesis(-1.2), SPEECH) or "")


def test_silence_is_not_decoded_again() -> None:
    assert doubt(hypothesis(-1.2, no_speech=0.9), SPEECH) is None


def test_repetition_compresses_and_speech_does_not() -> None:
    assert compression_ratio(LOOP) > 2.4 > compression_ratio(SPEECH)
    assert compression_ratio(b"") == 1.0


def test_the_best_is_the_most_probable_that_does_not_repeat_itself() -> None:
    tried = [hypothesis(-0.1, looped=True), hypothesis(-1.5), hypothesis(-1.2), hypothesis(-0.1)]
    assert best(tried, [SPEECH, SPEECH, SPEECH, LOOP]) == 2
    assert best(tried[:1], [SPEECH]) == 0
    assert best([hypothesis(-2, looped=True), hypothesis(-1, looped=True)], [LOOP, LOOP]) == 1
