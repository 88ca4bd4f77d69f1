"""What a recipe says of augmentation: for each kind how often, and between what bounds. By default nothing happens."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from model_store.compress.settings import STRICT


def _bounds(least: float, most: float) -> AfterValidator:
    def check(bounds: tuple[float, float]) -> tuple[float, float]:
        if not least <= bounds[0] <= bounds[1] <= most:
            raise ValueError(f"the bounds are in order, from {least:g} to {most:g}")
        return bounds

    return AfterValidator(check)


class Kind(BaseModel):
    """Of augmentation: how often a recording is changed so."""

    model_config = STRICT

    probability: float = Field(default=0.0, ge=0, le=1)


class Speed(Kind):
    """Voice and tempo together."""

    factor: Annotated[tuple[float, float], _bounds(0.5, 2)] = (0.9, 1.1)


class Tempo(Kind):
    """The voice stays."""

    factor: Annotated[tuple[float, float], _bounds(0.5, 2)] = (0.9, 1.1)


class Pitch(Kind):
    """The tempo stays."""

    semitones: Annotated[tuple[float, float], _bounds(-12, 12)] = (-2.0, 2.0)


class Sourced(Kind):
    """One that may take recordings of the user's from a `folder`, which goes together with the kind of that name."""

    kinds: tuple[str, ...]
    folder: Path | None = None

    @model_validator(mode="after")
    def _both(self) -> "Sourced":
        if ("folder" in self.kinds) != (self.folder is not None):
            raise ValueError("the kind `folder` and the entry `folder` go together")
        return self


class Room(Sourced):
    """Impulse responses of a folder, or generated."""

    kinds: tuple[Literal["box", "decay", "folder"], ...] = Field(default=("box", "decay"), min_length=1)
    rt60_s: Annotated[tuple[float, float], _bounds(0.1, 2)] = (0.2, 0.6)
    direct_db: Annotated[tuple[float, float], _bounds(-30, 40)] = (0.0, 12.0)
    """Of a `decay`: the direct sound over all that follows."""


class Noise(Sourced):
    """Recordings of a folder, or generated."""

    kinds: tuple[Literal["white", "pink", "brown", "shaped", "babble", "hum", "folder"], ...] = Field(
        default=("white", "pink", "babble"), min_length=1
    )
    snr_db: Annotated[tuple[float, float], _bounds(-20, 60)] = (5.0, 25.0)


class Gain(Kind):
    """Louder or softer, up to full scale."""

    gain_db: Annotated[tuple[float, float], _bounds(-60, 40)] = (-12.0, 6.0)


class Clipping(Kind):
    """The share of samples that is cut off."""

    share: Annotated[tuple[float, float], _bounds(0, 0.5)] = (0.001, 0.02)


class Telephone(Kind):
    """The band of a telephone, and its companding."""

    laws: tuple[Literal["linear", "mulaw", "alaw"], ...] = Field(default=("mulaw", "alaw"), min_length=1)


class Codec(Kind):
    """Lossy codecs at bit rates that they are known to be poor at."""

    kinds: tuple[Literal["opus", "mp3", "aac", "amr"], ...] = Field(default=("opus", "mp3", "aac"), min_length=1)
    kbit_s: Annotated[tuple[float, float], _bounds(4, 128)] = (12.0, 32.0)


class Masks(Kind):
    """SpecAugment: `bands` of at most `band_bins`, `stretches` of at most `stretch_frames` and that share of all."""

    bands: int = Field(default=2, ge=0)
    band_bins: int = Field(default=13, ge=0)
    stretches: int = Field(default=2, ge=0)
    stretch_frames: int = Field(default=50, ge=0)
    stretch_share: float = Field(default=0.2, ge=0, le=1)


class Augmentation(BaseModel):
    """All kinds, in the order in which they are applied: voice, room, noise, microphone, line, features."""

    model_config = STRICT

    speed: Speed = Speed()
    tempo: Tempo = Tempo()
    pitch: Pitch = Pitch()
    room: Room = Room()
    noise: Noise = Noise()
    gain: Gain = Gain()
    clipping: Clipping = Clipping()
    telephone: Telephone = Telephone()
    codec: Codec = Codec()
    masks: Masks = Masks()
