"""Spectrograms made on a device are those of the host, row by row."""

import numpy as np
import pytest
import torch

from service.audio.mel import HOP, WINDOW
from service.audio.types import SAMPLE_RATE, Samples
from service.backends.torch.mel import LogMel, width
from service.recognition.features import log_mel
from tests.audio.speech import recording

LENGTHS = (1, 2, HOP - 1, HOP, HOP + 1, WINDOW // 2, WINDOW // 2 + 1, WINDOW, 12_345, SAMPLE_RATE, 30 * SAMPLE_RATE)
TOLERANCE = 1e-4


def speech(length: int) -> Samples:
    return np.resize(recording("en/counting"), length)


def made(rows: list[Samples], frames: int, bins: int) -> torch.Tensor:
    samples = torch.zeros(len(rows), width(frames))
    for target, row in zip(samples, rows, strict=True):
        target[: len(row)] = torch.from_numpy(row)
    counts = torch.tensor([-(-len(row) // HOP) for row in rows])
    return LogMel(bins, torch.device("cpu"))(samples, counts)


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize("length", LENGTHS)
def test_spectrogram_is_that_of_the_host_with_silence_behind(length: int, bins: int) -> None:
    theirs, silence = log_mel(speech(length), bins)
    ours = made([speech(length)], theirs.shape[1] + 5, bins)[0].numpy()
    np.testing.assert_allclose(ours[:, :-5], theirs, atol=TOLERANCE)
    np.testing.assert_allclose(ours[:, -5:], silence, atol=TOLERANCE)


def test_each_row_of_a_batch_has_its_own_floor() -> None:
    """A whisper beside a shout is floored by its own loudest value, and so is its silence."""
    rows = [speech(20_000), speech(5000) * np.float32(1e-3), np.zeros(3000, np.float32)]
    for row, ours in zip(rows, made(rows, 126, 80), strict=True):
        theirs, silence = log_mel(row, 80)
        np.testing.assert_allclose(ours[:, : theirs.shape[1]], theirs, atol=TOLERANCE)
        np.testing.assert_allclose(ours[:, theirs.shape[1] :], silence, atol=TOLERANCE)
