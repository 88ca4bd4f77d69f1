import numpy as np
import numpy.typing as npt
import pytest

from service.audio.mel import mel_filters
from service.audio.types import SAMPLE_RATE, Samples
from service.recognition.features import log_mel
from tests.audio.speech import recording

Doubles = npt.NDArray[np.float64]


def reference(samples: Samples, bins: int) -> Doubles:
    """openai/whisper's `log_mel_spectrogram` of the samples with 30 s of silence behind them, in float64, plainly."""
    padded = np.concatenate([samples.astype(np.float64), np.zeros(30 * SAMPLE_RATE)])
    mirrored = np.pad(padded, 200, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.stack([mirrored[start : start + 400] * hann for start in range(0, len(padded), 160)])
    turns = np.exp(-2j * np.pi * np.outer(np.arange(201), np.arange(400)) / 400)
    power = np.abs(frames @ turns.T) ** 2
    mel = np.log10(np.maximum(power @ slaney(bins).T, 1e-10)).T
    scaled: Doubles = (np.maximum(mel, mel.max() - 8) + 4) / 4
    return scaled


def slaney(bins: int) -> Doubles:
    """librosa's `filters.mel(sr=16000, n_fft=400)`, a filter and a frequency at a time."""

    def hertz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * np.log(8) / np.log(6.4)
    edges = [hertz(top * index / (bins + 1)) for index in range(bins + 2)]
    filters = np.zeros((bins, 201))
    for index in range(bins):
        low, middle, high = edges[index : index + 3]
        for at in range(201):
            frequency = 40 * at
            slope = min((frequency - low) / (middle - low), (high - frequency) / (high - middle))
            filters[index, at] = max(0, slope) * 2 / (high - low)
    return filters


def signal(length: int) -> Samples:
    """Speech, then noise, as long as is asked."""
    fox = recording("en/quick_brown_fox")
    noise = np.random.default_rng(1).standard_normal(max(0, length - len(fox))).astype(np.float32) * 0.1
    return np.concatenate([fox[:length], noise])


@pytest.mark.parametrize("bins", [80, 128])
def test_filters_are_librosas(bins: int) -> None:
    np.testing.assert_allclose(mel_filters(bins), slaney(bins), atol=1e-8)


LENGTHS = (201, 320, 399, 400, 401, 559, 560, 561, 15_999, 16_000, 16_001, 100_000, 480_000)


@pytest.mark.parametrize("length", LENGTHS)
def test_spectrogram_is_the_originals(length: int) -> None:
    """In the frames that the samples fill; silence behind them has the value that is given beside."""
    samples = signal(length)
    found, silence = log_mel(samples, 80)
    expected = reference(samples, 80)
    assert found.shape == (80, -(-length // 160))
    np.testing.assert_allclose(found, expected[:, : found.shape[1]], atol=2e-4)
    np.testing.assert_allclose(silence, expected[:, -1], atol=2e-4)


@pytest.mark.parametrize(("length", "frames"), [(0, 0), (1, 1), (159, 1), (160, 1), (161, 2), (200, 2)])
def test_windows_shorter_than_a_mirror_have_a_spectrogram(length: int, frames: int) -> None:
    found, silence = log_mel(signal(16_000)[8000 : 8000 + length], 80)
    assert found.shape == (80, frames)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert silence >= -1.5


@pytest.mark.parametrize("length", [0, 1, 16_000])
def test_digital_silence_is_the_floor(length: int) -> None:
    found, silence = log_mel(np.zeros(length, np.float32), 80)
    assert silence == -1.5
    assert (found == -1.5).all()


def test_loudness_moves_the_scale_alone() -> None:
    loud, _ = log_mel(signal(32_000), 80)
    quiet, _ = log_mel(signal(32_000) / np.float32(10), 80)
    np.testing.assert_allclose(loud - quiet, 0.5, atol=1e-3)  # 2 decades of power over 4


def test_more_bins_are_more_rows() -> None:
    assert log_mel(signal(16_000), 128)[0].shape == (128, 100)
