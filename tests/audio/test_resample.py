import numpy as np
import pytest
import soxr

from service.audio.checkpoint import Abandoned
from service.audio.resample import LONG, Block, Limits, Recorder
from service.audio.types import SAMPLE_RATE
from service.engine.resident import read_resident
from service.errors import AudioTooLong, UndecodableAudio
from tests.audio.clips import speech

LIMITS = Limits(max_duration_s=60)


def block(samples: np.ndarray, rate: int) -> Block:
    return Block(samples, rate, channels=1, container="wav", codec="pcm_s16le")


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
@pytest.mark.parametrize("length", [1, 2, 999, 10_000])
def test_blocks_of_any_length_equal_the_whole(rate: int, length: int) -> None:
    values = speech(0.5, rate=rate)
    recorder = Recorder(LIMITS)
    for start in range(0, len(values), length):
        recorder.push(block(values[start : start + length], rate))
    recorded = recorder.finish()
    expected = soxr.resample(values, rate, SAMPLE_RATE, quality="HQ")
    assert len(recorded) == len(expected)
    np.testing.assert_allclose(recorded, expected, atol=1e-5)


def test_samples_at_16_khz_pass_unchanged() -> None:
    recorder = Recorder(LIMITS)
    for part in np.array_split(speech(1.0), 7):
        recorder.push(block(part, SAMPLE_RATE))
    np.testing.assert_array_equal(recorder.finish(), speech(1.0))


@pytest.mark.parametrize("length", [LONG - 1, LONG, LONG + 1, 2 * LONG + 12_345])
@pytest.mark.parametrize("at_once", [65_536, LONG + 7])
def test_a_long_recording_is_whole(length: int, at_once: int) -> None:
    samples = np.random.default_rng(3).uniform(-1.2, 1.2, length).astype(np.float32)
    recorder = Recorder(Limits(max_duration_s=3600))
    for start in range(0, length, at_once):
        recorder.push(block(samples[start : start + at_once], SAMPLE_RATE))
    waveform = recorder.finish()
    recorder.close()
    np.testing.assert_array_equal(waveform, samples.clip(-1, 1))
    waveform[-1] = 0.5  # in memory of its own, whatever it was collected in
    assert waveform[-1] == 0.5


def test_a_long_recording_is_not_in_memory_of_its_own() -> None:
    recorder = Recorder(Limits(max_duration_s=3600))
    before = _private_bytes()
    for _ in range(64):
        recorder.push(block(np.full(2**19, 0.1, np.float32), SAMPLE_RATE))
    waveform = recorder.finish()
    recorder.close()
    assert waveform.sum(dtype=np.float64) == pytest.approx(64 * 2**19 * 0.1)
    assert _private_bytes() - before < waveform.nbytes / 4


def _private_bytes() -> int:
    resident = read_resident()
    return resident.now_bytes - resident.file_bytes


def test_a_recording_that_is_abandoned_takes_no_more_blocks() -> None:
    wanted = True

    def checkpoint() -> None:
        if not wanted:
            raise Abandoned

    recorder = Recorder(LIMITS, checkpoint=checkpoint)
    recorder.push(block(speech(1.0), SAMPLE_RATE))
    wanted = False
    with pytest.raises(Abandoned):
        recorder.push(block(speech(1.0), SAMPLE_RATE))
    with pytest.raises(Abandoned):
        recorder.finish()


def test_a_stream_may_change_its_rate() -> None:
    recorder = Recorder(LIMITS)
    for rate in (8_000, 48_000, SAMPLE_RATE, 8_000):
        recorder.push(block(speech(0.5, rate=rate), rate))
    assert len(recorder.finish()) == 4 * SAMPLE_RATE // 2


@pytest.mark.parametrize("samples", [0, 1])
def test_next_to_nothing_gives_nothing(samples: int) -> None:
    recorder = Recorder(LIMITS)
    recorder.push(block(np.zeros(samples, np.float32), 48_000))
    assert len(recorder.finish()) == 0


def test_the_limit_spans_changes_of_rate() -> None:
    recorder = Recorder(Limits(max_duration_s=0.9))
    recorder.push(block(speech(0.5, rate=8_000), 8_000))
    with pytest.raises(AudioTooLong):
        recorder.push(block(speech(0.5, rate=48_000), 48_000))


@pytest.mark.parametrize("rate", [0, 1, 4_000_000_000])
def test_a_rate_that_no_recording_has_is_refused(rate: int) -> None:
    with pytest.raises(UndecodableAudio, match=f"{rate} Hz"):
        Recorder(LIMITS).push(block(np.zeros(10, np.float32), rate))
