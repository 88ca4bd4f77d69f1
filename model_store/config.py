"""The `config.json` of a variant: sizes and token ids that the service needs to run it. Written by `convert`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FILE_NAME = "config.json"


class ModelConfig(BaseModel):
    """What every encoder-decoder family has. `max_positions` bounds prompt and output tokens together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int
    max_positions: int
    end_token: int


class Padding(BaseModel):
    """What of the silence behind the speech is computed: `dense` positions, then `sparse` that stand for the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dense: int = Field(ge=0)
    sparse: int = Field(ge=0)


class WhisperConfig(ModelConfig):
    """Whisper. `languages[i]` has the token `first_language_token + i`; English-only models have none.

    `alignment_heads` are (layer, head) pairs of the decoder's cross-attention that follow the audio.
    `padding` is what it was adapted to; None as it was trained.
    """

    family: Literal["whisper"] = "whisper"
    mel_bins: int
    start_token: int
    first_language_token: int | None
    languages: tuple[str, ...]
    translate_token: int | None
    transcribe_token: int | None
    previous_token: int
    no_speech_token: int
    no_timestamps_token: int
    first_timestamp_token: int
    suppressed_tokens: tuple[int, ...]
    suppressed_first_tokens: tuple[int, ...]
    alignment_heads: tuple[tuple[int, int], ...]
    padding: Padding | None = Field(default=None, exclude_if=lambda padding: padding is None)


class MoonshineConfig(ModelConfig):
    """Moonshine. Encoder positions are made of `position_samples` each, and of `context_samples` behind the last."""

    family: Literal["moonshine"] = "moonshine"
    start_token: int
    position_samples: int
    context_samples: int
