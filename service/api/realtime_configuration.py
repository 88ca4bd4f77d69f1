"""How a Realtime session is heard: what `session.update` has in, the whole configuration that is in effect out. Pure.

Each part is the same class in an update and in effect: what an update does not name, stays as it was.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from service.api.forms import Language, ServerVad
from service.api.selection import CLOUD_NAMES, Selection
from service.audio.types import RawFormat, VadOptions
from service.engine.choice import AUTO
from service.engine.streaming import StreamRequest
from service.errors import OptionError
from service.recognition.types import Options

Included = Literal["item.input_audio_transcription.logprobs"]
LOGPROBS: Included = "item.input_audio_transcription.logprobs"
G711_RATE = 8_000

LIVE_NAMES = ("gpt-4o-mini-transcribe-2025-12-15", "gpt-live-transcribe", "gpt-realtime-whisper")
"""Of the OpenAI service, for live audio alone; they mean what `auto` does, as the others of the cloud."""

CONVERSING_NAMES = ("gpt-realtime", "gpt-4o-realtime", "gpt-4o-mini-realtime")
"""How the names begin that older clients must put in the address, though they want the transcription alone."""

SILENCE_MS: Mapping[str, int] = {"low": 1500, "medium": 800, "auto": 800, "high": 300}
"""How long a pause ends a turn with `semantic_vad`: nothing here judges what was said, so this is patience alone."""

MOST_LISTED = 1_000
"""Of whatever is a list. The first wrong one is fault enough: a report of each would take long to write."""

MOST_TOLD_BYTES = 8 * 2**10
"""Of prompt and keywords together: a model that is told them reads all of it again for each result."""


class Part(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def merged(self, update: Self) -> Self:
        """This, but for what the update names; of a part that stays of its kind, what that names."""
        changes: dict[str, object] = {}
        for name in update.model_fields_set:
            old, new = getattr(self, name), getattr(update, name)
            both = isinstance(old, Part) and type(old) is type(new)
            changes[name] = old.merged(new) if both else new
        return self.model_copy(update=changes)


class Pcm(Part):
    """16 bits, little-endian, mono."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: int = Field(default=24_000, ge=8_000, le=48_000)

    def raw(self) -> RawFormat:
        return RawFormat("linear16", self.rate)


class MuLaw(Part):
    type: Literal["audio/pcmu"] = "audio/pcmu"

    def raw(self) -> RawFormat:
        return RawFormat("mulaw", G711_RATE)


class ALaw(Part):
    type: Literal["audio/pcma"] = "audio/pcma"

    def raw(self) -> RawFormat:
        return RawFormat("alaw", G711_RATE)


class NoiseReduction(Part):
    """Taken and given back; nothing here does it, for the models were trained on noise."""

    type: Literal["near_field", "far_field"] = "near_field"


_LISTED: object = Field(max_length=MOST_LISTED, fail_fast=True)
_UNSET: Mapping[str, object] = {"model": AUTO, "language": AUTO, "languages": (), "prompt": "", "keywords": ()}


class Transcription(Part):
    """The model and what it is told of the speech."""

    model: str = AUTO
    language: Language = None
    languages: Annotated[tuple[Language, ...], _LISTED] = ()
    prompt: str = ""
    keywords: Annotated[tuple[str, ...], _LISTED] = ()

    @model_validator(mode="before")
    @classmethod
    def _reset(cls, value: object) -> object:
        """A field that is null goes back to what it is without."""
        if not isinstance(value, dict):
            return value
        return {key: _UNSET.get(key) if item is None else item for key, item in value.items()}

    def options(self) -> Options:
        """What the engine is told.

        Raises:
            OptionError: it is too much.
        """
        size = sum(len(text.encode()) for text in (self.prompt, *self.keywords))
        if size > MOST_TOLD_BYTES:
            much = f"The prompt and the keywords have {size} bytes together; give at most {MOST_TOLD_BYTES}."
            raise OptionError(much, param="prompt")
        known = tuple(code for code in self.languages if code is not None)
        return Options(language=self.language, languages=known, prompt=self.prompt, hotwords=self.keywords)


class Pauses(ServerVad, Part):
    """A turn ends where the speaker is silent."""

    def vad(self) -> VadOptions:
        return VadOptions(
            threshold=self.threshold,
            prefix_padding_ms=self.prefix_padding_ms,
            silence_duration_ms=self.silence_duration_ms,
        )


class Eagerness(Part):
    """The same, told in a word."""

    type: Literal["semantic_vad"] = "semantic_vad"
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"

    def vad(self) -> VadOptions:
        return VadOptions(silence_duration_ms=SILENCE_MS[self.eagerness])


_OLDER_NAMES = {
    "input_audio_format": "format",
    "input_audio_noise_reduction": "noise_reduction",
    "input_audio_transcription": "transcription",
    "turn_detection": "turn_detection",
}
_OLDER_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}


def _typed(default: str) -> BeforeValidator:
    """A word alone is the type, in the older spelling too; an object without a type has the default one."""

    def with_type(value: object) -> object:
        if isinstance(value, str):
            return {"type": _OLDER_FORMATS.get(value, value)}
        return {"type": default, **value} if isinstance(value, dict) else value

    return BeforeValidator(with_type)


def _or_default(value: object) -> object:
    return {} if value is None else value


def _or_none(value: object) -> object:
    return () if value is None else value


Format = Annotated[Annotated[Pcm | MuLaw | ALaw, Field(discriminator="type")], _typed("audio/pcm")]
Turns = Annotated[Annotated[Pauses | Eagerness, Field(discriminator="type")], _typed("server_vad")]


class AudioInput(Part):
    """What is heard, and how."""

    format: Format = Pcm()
    noise_reduction: NoiseReduction | None = None
    transcription: Annotated[Transcription, BeforeValidator(_or_default)] = Transcription()
    turn_detection: Turns | None = Pauses()


class Audio(Part):
    input: AudioInput = AudioInput()


class Configuration(Part):
    """All of it. The older dialect has the parts of `audio.input` side by side, under names of their own."""

    type: Literal["transcription"] = "transcription"
    audio: Audio = Audio()
    include: Annotated[tuple[Included, ...], _LISTED, BeforeValidator(_or_none)] = ()

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        flat = {inner: value[name] for name, inner in _OLDER_NAMES.items() if name in value}
        rest = {name: item for name, item in value.items() if name not in _OLDER_NAMES}
        return {**rest, "audio": {"input": flat}} if flat else rest

    @property
    def input(self) -> AudioInput:
        return self.audio.input

    @property
    def logprobs(self) -> bool:
        return LOGPROBS in self.include

    def request(self, selection: Selection, *, client: str) -> StreamRequest:
        """What the engine is asked for. Without turns no item is known before it is whole, nor wanted in parts.

        Raises:
            OptionError: it is told too much.
        """
        turns = self.input.turn_detection
        return StreamRequest(
            model=selection.model,
            options=self.input.transcription.options(),
            raw=self.input.format.raw(),
            vad=turns.vad() if turns else VadOptions(),
            turns=turns is not None,
            interims=turns is not None,
            client=client,
            precision=selection.precision,
        )


def meant(name: str) -> str:
    """The model that a name stands for, where it is one that only the OpenAI service has for live audio."""
    return CLOUD_NAMES[0] if name in LIVE_NAMES or name.startswith(CONVERSING_NAMES) else name
