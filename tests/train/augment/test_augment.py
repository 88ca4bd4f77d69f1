"""Augmentation as measured: levels, spectra, delays, reverberation."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from model_store.errors import CompressionError
from model_store.train.augment import lines, noise, rates, rooms
from model_store.train.augment.chain import Chain
from model_store.train.augment.levels import active_power, amplified, clipped, power, within_scale
from model_store.train.augment.masks import masked
from model_store.train.augment.settings import Augmentation, Masks
from service.audio.types import SAMPLE_RATE, Samples
from tests.recognition.models import clips

TONE_HZ = 440.0


def tone(hertz: float = TONE_HZ, seconds: float = 2.0) -> Samples:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


def speech() -> Samples:
    return clips()[0]


def loudest_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(samples))


def band_db(samples: Samples, low: float, high: float) -> float:
    spectrum = np.square(np.abs(np.fft.rfft(samples)))
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return float(10 * np.log10(spectrum[(hertz >= low) & (hertz < high)].sum() + 1e-20))


def dice(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 5.0, 20.0])
def test_the_ratio_of_speech_to_noise_is_the_one_that_was_asked_for(snr_db: float) -> None:
    made = noise.colored(len(speech()), "white", dice())
    mixed = noise.with_noise(speech(), made, snr_db)
    found = 10 * np.log10(active_power(speech()) / power(mixed - speech()))
    assert found == pytest.approx(snr_db, abs=0.1)


@pytest.mark.parametrize(("color", "fall_db"), [("white", 0.0), ("pink", 3.0), ("brown", 6.0)])
def test_coloured_noise_falls_by_so_much_an_octave(color: noise.Color, fall_db: float) -> None:
    made = noise.colored(1 << 19, color, dice())
    # An octave holds twice the frequencies: white noise gains 3 dB from one to the next.
    falls = [band_db(made, low, 2 * low) + 3.01 - band_db(made, 2 * low, 4 * low) for low in (200.0, 500.0, 1500.0)]
    assert falls == pytest.approx([fall_db] * 3, abs=0.4)


def test_speech_shaped_noise_has_the_spectrum_of_speech() -> None:
    made = noise.speech_shaped(1 << 18, noise.spectrum_of(speech()), dice())
    ours, theirs = ([band_db(one, low, low + 500) for low in (0, 500, 1000, 3000)] for one in (made, speech()))
    assert np.diff(ours) == pytest.approx(np.diff(theirs), abs=1.5)


def test_babble_swells_and_hum_has_its_tones() -> None:
    made = noise.babble(SAMPLE_RATE * 10, noise.spectrum_of(speech()), dice())
    levels = np.sqrt(np.square(made.reshape(-1, 800)).mean(axis=1))
    assert levels.std() / levels.mean() > 0.15
    assert loudest_hz(noise.hum(SAMPLE_RATE, 50, dice())) == pytest.approx(50, abs=1)


def test_recorded_noise_is_cut_or_goes_round() -> None:
    recorded = np.arange(10, dtype=np.float32)
    assert len(noise.fitted(recorded, 4, dice())) == 4
    assert sorted(set(noise.fitted(recorded, 25, dice()))) == list(range(10))


def test_levels() -> None:
    assert power(amplified(tone(), 6.02)) == pytest.approx(4 * power(tone()), rel=0.01)
    cut = clipped(speech(), 0.05)
    assert (np.abs(cut) == np.abs(cut).max()).mean() == pytest.approx(0.05, abs=0.002)
    assert np.abs(within_scale(tone() * 9)).max() == pytest.approx(1)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_moves_length_and_tone(factor: float) -> None:
    found = rates.speed(tone(), factor)
    assert len(found) == round(2 * SAMPLE_RATE / factor)
    assert loudest_hz(found) == pytest.approx(TONE_HZ * factor, abs=2)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_tempo_moves_length_alone(factor: float) -> None:
    found = rates.tempo(tone(), factor)
    assert len(found) == round(2 * SAMPLE_RATE / factor)
    assert loudest_hz(found) == pytest.approx(TONE_HZ, abs=3)


def test_pitch_moves_the_tone_alone() -> None:
    found = rates.pitch(tone(), 3)
    assert len(found) == len(tone())
    assert loudest_hz(found) == pytest.approx(TONE_HZ * 2 ** (3 / 12), abs=4)


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.9])
def test_reverberation_takes_its_time(seconds: float) -> None:
    assert rooms.rt60(rooms.decay(seconds, 0.0, dice())) == pytest.approx(seconds, rel=0.1)
    boxes = [rooms.rt60(rooms.box(seconds, dice(seed))) for seed in range(8)]
    assert np.median(boxes) == pytest.approx(seconds, rel=0.4)


def test_a_room_keeps_place_and_loudness() -> None:
    response = np.pad(rooms.decay(0.3, 3.0, dice()), (500, 0))
    found = rooms.reverberant(speech(), response)
    assert len(found) == len(speech())
    assert active_power(found) == pytest.approx(active_power(speech()), rel=0.01)
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[4000] = 1
    assert int(np.abs(rooms.reverberant(click, response)).argmax()) == 4000


@pytest.mark.parametrize("law", ["linear", "mulaw", "alaw"])
def test_a_telephone_has_its_band(law: lines.Law) -> None:
    white = 0.1 * noise.colored(SAMPLE_RATE * 4, "white", dice())
    found = lines.telephone(white, law)
    assert len(found) == len(white)
    inside = band_db(found, 400, 3300) - band_db(white, 400, 3300)
    assert inside == pytest.approx(0, abs=0.5)
    assert band_db(found, 4100, 8000) - band_db(white, 4100, 8000) < -30
    assert band_db(found, 0, 150) - band_db(white, 0, 150) < -20


def test_companding_is_heard_as_noise() -> None:
    """A companded sine has 37 to 38 dB of signal over its rounding (ITU-T G.711)."""
    plain, companded = lines.telephone(tone(1013.7), "linear"), lines.telephone(tone(1013.7), "mulaw")
    middle = slice(4000, -4000)
    ratio = 10 * np.log10(power(plain[middle]) / power((companded - plain)[middle]))
    assert 34 < ratio < 42


@pytest.mark.parametrize("codec", ["opus", "mp3", "aac", "amr"])
def test_codecs_lose_quality_and_nothing_else(codec: lines.Lossy) -> None:
    found = lines.coded(speech(), codec, 24)
    assert len(found) == len(speech())
    lag = np.correlate(found[8000:40_000], speech()[8000 + 200 : 40_000 - 200], "valid").argmax() - 200
    assert abs(int(lag)) <= 8
    assert not np.array_equal(found, speech())
    assert active_power(found) == pytest.approx(active_power(speech()), rel=0.5)


def test_masks_hide_no_more_than_asked() -> None:
    features = np.random.default_rng(2).normal(0, 1, (80, 300)).astype(np.float32)
    settings = Masks(probability=1, bands=2, band_bins=10, stretches=2, stretch_frames=40, stretch_share=0.1)
    hidden = masked(features, settings, dice()) != features
    assert 0 < hidden.all(axis=1).sum() <= 20
    assert 0 < hidden.all(axis=0).sum() <= 60
    assert masked(features, Masks(), dice()) is features


ALL = Augmentation.model_validate(
    {
        "speed": {"probability": 0.5},
        "pitch": {"probability": 0.5},
        "room": {"probability": 0.5},
        "noise": {"probability": 0.5, "kinds": ["white", "pink", "brown", "shaped", "babble", "hum"]},
        "gain": {"probability": 0.5},
        "clipping": {"probability": 0.5},
        "telephone": {"probability": 0.5},
        "codec": {"probability": 0.3},
    }
)


def test_the_same_dice_give_the_same_sound() -> None:
    one, other = ([Chain(ALL)(speech(), dice(seed)) for seed in range(6)] for _ in range(2))
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(one, other, strict=True))
    assert len({sound.tobytes() for sound in one}) > 3


@pytest.mark.parametrize("length", [0, 1, 100, 3200])
def test_short_sounds_come_through(length: int) -> None:
    for seed in range(12):
        found = Chain(ALL)(speech()[8000 : 8000 + length], dice(seed))
        assert np.isfinite(found).all()
        assert np.abs(found).max(initial=0) <= 1.0001


def test_by_default_nothing_happens() -> None:
    assert np.array_equal(Chain(Augmentation())(speech(), dice()), speech())


def test_ones_own_noise_and_rooms_are_taken(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hiss.wav", noise.colored(8000, "white", dice()) * 0.1, SAMPLE_RATE)
    given = {"noise": {"probability": 1, "kinds": ["folder"], "folder": tmp_path, "snr_db": [10, 10]}}
    mixed = Chain(Augmentation.model_validate(given))(speech() * 0.5, dice())
    ratio = 10 * np.log10(active_power(speech() * 0.5) / power(mixed - speech() * 0.5))
    assert ratio == pytest.approx(10, abs=0.1)
    given = {"noise": {"probability": 1, "kinds": ["folder"], "folder": tmp_path / "none"}}
    with pytest.raises(CompressionError, match="no recordings"):
        Chain(Augmentation.model_validate(given))(speech(), dice())


def test_kinds_and_folders_go_together() -> None:
    with pytest.raises(ValueError, match="go together"):
        Augmentation.model_validate({"noise": {"kinds": ["folder"]}})
