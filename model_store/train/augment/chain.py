"""Speech in, speech as the dice have it out: voice, room, noise, microphone, line, in the order of the world."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model_store.train.augment import lines, noise, rates, rooms
from model_store.train.augment.levels import amplified, clipped, within_scale
from model_store.train.augment.settings import Augmentation, Kind, Noise, Room
from model_store.train.augment.sources import Sounds
from service.audio.types import Samples

_MAINS_HZ = (50.0, 60.0)


@dataclass(frozen=True)
class Chain:
    """What a recipe says of augmentation, ready to be applied."""

    settings: Augmentation

    @cached_property
    def noises(self) -> Sounds | None:
        """Those of the user.

        Raises:
            CompressionError: the folder holds none.
        """
        folder = self.settings.noise.folder
        return None if folder is None else Sounds(folder)

    @cached_property
    def rooms(self) -> Sounds | None:
        """The responses of the user.

        Raises:
            CompressionError: the folder holds none.
        """
        folder = self.settings.room.folder
        return None if folder is None else Sounds(folder)

    def __call__(self, samples: Samples, random: np.random.Generator) -> Samples:
        """The same words; as long, but for speed and tempo. Never past full scale."""
        given = self.settings
        if not len(samples):
            return samples
        if _falls(given.speed, random):
            samples = rates.speed(samples, random.uniform(*given.speed.factor))
        if _falls(given.tempo, random):
            samples = rates.tempo(samples, random.uniform(*given.tempo.factor))
        if _falls(given.pitch, random):
            samples = rates.pitch(samples, random.uniform(*given.pitch.semitones))
        if _falls(given.room, random):
            samples = rooms.reverberant(samples, self._response(given.room, random))
        if _falls(given.noise, random):
            made = self._noise(given.noise, samples, random)
            samples = noise.with_noise(samples, made, random.uniform(*given.noise.snr_db))
        if _falls(given.gain, random):
            samples = amplified(samples, random.uniform(*given.gain.gain_db))
        samples = within_scale(samples)
        if _falls(given.clipping, random):
            samples = clipped(samples, random.uniform(*given.clipping.share))
        if _falls(given.telephone, random):
            samples = lines.telephone(samples, given.telephone.laws[random.integers(len(given.telephone.laws))])
        if _falls(given.codec, random):
            codec = given.codec.kinds[random.integers(len(given.codec.kinds))]
            samples = lines.coded(samples, codec, random.uniform(*given.codec.kbit_s))
        return within_scale(samples)

    def _response(self, settings: Room, random: np.random.Generator) -> Samples:
        kind, rt60_s = settings.kinds[random.integers(len(settings.kinds))], random.uniform(*settings.rt60_s)
        if kind == "box":
            return rooms.box(rt60_s, random)
        if kind == "decay" or self.rooms is None:
            return rooms.decay(rt60_s, random.uniform(*settings.direct_db), random)
        return self.rooms.any(random)

    def _noise(self, settings: Noise, samples: Samples, random: np.random.Generator) -> Samples:
        kind, length = settings.kinds[random.integers(len(settings.kinds))], len(samples)
        match kind:
            case "white" | "pink" | "brown":
                return noise.colored(length, kind, random)
            case "hum":
                return noise.hum(length, _MAINS_HZ[random.integers(len(_MAINS_HZ))], random)
            case "shaped":
                return noise.speech_shaped(length, noise.spectrum_of(samples), random)
            case "babble":
                return noise.babble(length, noise.spectrum_of(samples), random)
            case "folder":
                assert self.noises is not None, "the settings hold kind and folder together"
                return noise.fitted(self.noises.any(random), length, random)


def _falls(kind: Kind, random: np.random.Generator) -> bool:
    return bool(random.random() < kind.probability)
