"""A form's fields in, a validated `TranscriptionForm` out, and from it what the engine is asked.

Fields that nobody knows are ignored, as clients send the extras of other servers; a known field with a wrong value is
an error that names it.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import from_json

from model_store.manifest import Precision
from service.api.bodies import KeepAlive, explained
from service.api.fields import FieldValue, gather
from service.audio.types import RawEncoding, RawFormat, VadOptions
from service.errors import OptionError
from service.recognition import languages
from service.recognition.types import FALLBACK_TEMPERATURES, Options, Task

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]
TIMED_FORMATS: frozenset[ResponseFormat] = frozenset({"srt", "vtt", "verbose_json"})
"""Formats that show when segments were said."""


MAX_CHANNELS = 64
MAX_SAMPLE_RATE = 768_000
G711_SAMPLE_RATE = 8_000
"""G.711 says so; a client need not."""

_ENCODINGS: dict[str, RawEncoding] = {
    "linear16": "linear16",
    "pcm16": "linear16",
    "s16le": "linear16",
    "pcm_s16le": "linear16",
    "linear32": "linear32",
    "s32le": "linear32",
    "pcm_s32le": "linear32",
    "float32": "float32",
    "f32le": "float32",
    "pcm_f32le": "float32",
    "mulaw": "mulaw",
    "ulaw": "mulaw",
    "pcmu": "mulaw",
    "pcm_mulaw": "mulaw",
    "g711_ulaw": "mulaw",
    "alaw": "alaw",
    "pcma": "alaw",
    "pcm_alaw": "alaw",
    "g711_alaw": "alaw",
}


def _language(value: object) -> str | None:
    if not isinstance(value, str):
        raise ValueError("give one code")
    if value.strip().lower() == "auto":
        return None
    code = languages.code_of(value)
    if code is None:
        raise ValueError("unknown language: give an ISO-639-1 code such as 'en', or leave it out to detect it")
    return code


def _encoding(value: object) -> RawEncoding:
    encoding = _ENCODINGS.get(str(value).strip().lower())
    if encoding is None:
        raise ValueError(f"unknown encoding: give one of {', '.join(_ENCODINGS)}, or leave it out if there is a header")
    return encoding


def _record(value: FieldValue) -> object:
    """`chunking_strategy` in its three shapes: `auto`, JSON, or bracketed keys (gathered already)."""
    if not isinstance(value, str):
        return value
    if value == "auto":
        return {}
    try:
        parsed = from_json(value)  # refuses what is nested too deeply as well
    except ValueError as error:
        raise ValueError("give 'auto' or an object of type 'server_vad'") from error
    return {} if parsed == "auto" else parsed


def _split(values: list[str]) -> list[str]:
    """Several words in one field are separated by commas or lines."""
    return [word.strip() for value in values for word in value.replace("\n", ",").split(",") if word.strip()]


Language = Annotated[str | None, BeforeValidator(_language)]


class ServerVad(BaseModel):
    """`chunking_strategy` as an object; what is not given keeps Wren's default."""

    model_config = ConfigDict(frozen=True)

    type: Literal["server_vad"] = "server_vad"
    threshold: float = Field(default=VadOptions().threshold, ge=0, le=1)
    prefix_padding_ms: int = Field(default=VadOptions().prefix_padding_ms, ge=0, le=10_000)
    silence_duration_ms: int = Field(default=VadOptions().silence_duration_ms, ge=0, le=10_000)


class TranscriptionForm(BaseModel):
    """Every field of the two endpoints, the file apart."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str = Field(
        description="A model of `/v1/models`, `model:variant`, `auto`, or a cloud name.", examples=["auto"]
    )
    url: str | None = Field(
        default=None, description="Extra: where the recording is, in place of `file`, if this server fetches any."
    )
    language: Language = Field(default=None, examples=["en"], description="ISO-639-1 code; left out, it is detected.")
    languages: tuple[Language, ...] = Field(
        default=(), examples=[["en", "de"]], description="Candidates that the detection chooses among."
    )
    prompt: str = Field(default="", description="Text that the speech is taken to follow.")
    keywords: tuple[str, ...] = Field(default=(), description="Words to expect.")
    response_format: ResponseFormat = Field(default="json", description="Shape of the answer.")
    temperature: float = Field(
        default=0, ge=0, le=1, description="0 tries hotter ones where a result looks wrong; above 0, this one alone."
    )
    timestamp_granularities: tuple[Literal["word", "segment"], ...] = Field(
        default=("segment",), description="`word` adds the times of words to verbose_json."
    )
    include: tuple[Literal["logprobs"], ...] = Field(
        default=(), description="`logprobs` adds those of the tokens to json."
    )
    stream: bool = Field(default=False, description="Answer with server-sent events, segment by segment.")
    chunking_strategy: Annotated[ServerVad, BeforeValidator(_record), WithJsonSchema({"type": "string"})] = Field(
        default=ServerVad(),
        examples=["auto"],
        description="`auto`, or an object of type `server_vad` with its settings.",
    )
    precision: Literal["auto", Precision] = Field(
        default="auto", description="Extra: a wish, granted where the model has it and load and operator let it."
    )
    variant: str | None = Field(default=None, description="Extra: the model's variant of this name, and no other.")
    keep_alive: KeepAlive = Field(
        default=None,
        examples=["5m"],
        description="Extra: how long the variant stays in memory after it: seconds, `5m`, 0, -1 for ever.",
    )
    hotwords: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(
        default=(), description="Extra: words to expect, separated by commas."
    )
    vad_filter: bool = Field(default=True, description="Extra: false transcribes silence and noise as well.")
    encoding: Annotated[RawEncoding | None, BeforeValidator(_encoding)] = Field(
        default=None, description="Extra: layout of headerless audio."
    )
    sample_rate: int | None = Field(
        default=None, ge=1, le=MAX_SAMPLE_RATE, description="Extra: of headerless audio, in Hz."
    )
    channels: int = Field(default=1, ge=1, le=MAX_CHANNELS, description="Extra: of headerless audio, interleaved.")
    priority: Literal["interactive", "batch"] = Field(
        default="interactive", description="Extra: `batch` lets those go first for whom somebody waits."
    )
    deadline_s: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Extra: seconds from the end of the upload after which the answer is of no use (then 504).",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Fields that do not go together; the error names the one to change."""
        if self.response_format == "diarized_json":
            raise OptionError(
                "Diarisation is not available here: no model tells speakers apart. Use verbose_json.",
                param="response_format",
            )
        if self.stream and self.response_format not in ("json", "text"):
            raise OptionError("With stream=true use response_format json or text.", param="response_format")
        if self.include and self.response_format != "json":
            raise OptionError("include[]=logprobs needs response_format json.", param="include")
        if self.encoding in ("linear16", "linear32", "float32") and self.sample_rate is None:
            raise OptionError(f"The encoding {self.encoding} needs a sample_rate.", param="sample_rate")
        return self

    @property
    def wish(self) -> Precision | None:
        return None if self.precision == "auto" else self.precision

    @property
    def wants_words(self) -> bool:
        return "word" in self.timestamp_granularities

    @property
    def wants_logprobs(self) -> bool:
        return bool(self.include)

    def options(self, task: Task) -> Options:
        return Options(
            task=task,
            language=self.language,
            languages=tuple(code for code in self.languages if code is not None),
            prompt=self.prompt,
            hotwords=self.keywords + self.hotwords,
            temperatures=(self.temperature,) if self.temperature > 0 else FALLBACK_TEMPERATURES,
            word_times=self.wants_words or self.response_format in TIMED_FORMATS,
        )

    def vad(self) -> VadOptions:
        chosen = self.chunking_strategy
        return VadOptions(
            enabled=self.vad_filter,
            threshold=chosen.threshold,
            prefix_padding_ms=chosen.prefix_padding_ms,
            silence_duration_ms=chosen.silence_duration_ms,
        )

    def raw(self) -> RawFormat | None:
        if self.encoding is None:
            return None
        return RawFormat(self.encoding, self.sample_rate or G711_SAMPLE_RATE, self.channels)


LIST_FIELDS = frozenset({"languages", "keywords", "timestamp_granularities", "include", "hotwords"})


def parse(fields: list[tuple[str, str]]) -> TranscriptionForm:
    """The validated form.

    Raises:
        OptionError: a field is missing, given twice, or has a wrong value.
    """
    try:
        return TranscriptionForm.model_validate(gather(fields, lists=LIST_FIELDS))
    except ValidationError as error:
        raise explained(error) from error
