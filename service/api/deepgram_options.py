"""The query of Deepgram's `/v1/listen` in, checked options out, and from them what the engine is asked. Pure.

The same for recordings and live streams. What cannot be done here is ignored, as Deepgram does with what it does not
know, and a warning names it; a known parameter with a wrong value is an error.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from service.api.auth import QUERY_NAMES
from service.api.bodies import explained
from service.api.deepgram_words import Replacement, bare, check_words
from service.api.fields import gather
from service.api.forms import G711_SAMPLE_RATE, MAX_CHANNELS, MAX_SAMPLE_RATE
from service.api.selection import select
from service.audio.types import RawEncoding, RawFormat, VadOptions
from service.engine.choice import AUTO
from service.engine.streaming import StreamRequest
from service.engine.types import ModelInfo
from service.errors import OptionError
from service.recognition import languages
from service.recognition.types import Options

MOST_VALUES = 200
"""Of a parameter that is a list: each replacement is looked for in each result."""

ENDPOINTING_MS = 400
"""A pause that ends an utterance, unless the client says. Deepgram has 10, but half a sentence is understood worse."""

MULTI = "multi"
"""The language of a speaker of several: it is detected."""

_DOMAINS = "general|meeting|phonecall|finance|conversationalai|voicemail|video|medical|drivethru|automotive|atc"
_CLOUD_MODEL = re.compile(
    rf"(nova|nova-2|nova-3|2|enhanced|base)(-({_DOMAINS}))?|({_DOMAINS})|whisper(-(tiny|base|small|medium|large))?"
)
"""The models of Deepgram's service (its models page, and `MediaTranscribeRequestModel` of deepgram-sdk 7)."""

_NO_MODEL = "None"
"""What deepgram-sdk 3 sends as the model where none was given."""

_BOOSTED = re.compile(r"(?P<word>.+):(?P<boost>-?[\d.]+)")

_RAW: dict[str, RawEncoding] = {
    "linear16": "linear16",
    # Deepgram's is floating-point (its page on `encoding`).
    "linear32": "float32",
    "mulaw": "mulaw",
    "alaw": "alaw",
}
_CONTAINERS = ("flac", "opus", "ogg-opus", "webm", "webm-opus", "speex", "amr-nb", "amr-wb", "mp3", "aac")
"""Encodings that come in something which tells what it is."""

IMPOSSIBLE = {
    "alternatives": "there is one transcript of each part",
    "callback_method": "there are no callbacks",
    "custom_intent": "no model here looks for intents",
    "custom_intent_mode": "no model here looks for intents",
    "custom_topic": "no model here looks for topics",
    "custom_topic_mode": "no model here looks for topics",
    "detect_entities": "no model here looks for entities",
    "detect_topics": "no model here looks for topics",
    "diarize": "no model here tells speakers apart",
    "diarize_model": "no model here tells speakers apart",
    "diarize_version": "no model here tells speakers apart",
    "dictation": "spoken punctuation is written as words",
    "filler_words": "the models leave them out or write them as they learned to",
    "intents": "no model here looks for intents",
    "measurements": "the models write them as they learned to",
    "multichannel": "the channels are mixed into one",
    "numerals": "the models write numbers as they learned to",
    "profanity_filter": "nothing is left out",
    "redact": "nothing is left out",
    "search": "look in the transcript",
    "sentiment": "no model here looks for sentiment",
    "summarize": "no model here writes summaries",
    "topics": "no model here looks for topics",
}
"""Parameters of Deepgram's that are ignored with a warning, and what is so instead."""

NEEDLESS = ("mip_opt_out", "no_delay", "tier", "version")
"""Parameters of Deepgram's that ask for nothing here: audio never leaves the server, nothing is held back, and a model
has one version."""

_LIVE_ONLY = frozenset({"interim_results", "endpointing", "utterance_end_ms", "vad_events"})
_RECORDED_ONLY = frozenset({"paragraphs", "utterances", "utt_split"})
_OFF = frozenset({"false", "0"})


class OptionWarning(BaseModel):
    """A parameter that was ignored."""

    parameter: str
    type: Literal["unsupported", "unknown"]
    message: str


def _model(value: object) -> object:
    return AUTO if value == _NO_MODEL else value


def _language(value: object) -> str:
    code = MULTI if value == MULTI else languages.code_of(str(value))
    if code is None:
        raise ValueError(f"unknown language: give a code such as 'en' or 'en-US', or '{MULTI}' to detect it")
    return code


def _switch_or_language(value: object) -> str:
    text = str(value).lower()
    return text if text in ("true", "false") else _language(value)


def _encoding(value: object) -> object:
    text = str(value).lower()
    if text not in _RAW and text not in _CONTAINERS:
        raise ValueError(
            f"unknown encoding: give one of {', '.join((*_RAW, *_CONTAINERS))}, or none if there is a header"
        )
    return text


def _endpointing(value: object) -> object:
    text = str(value).lower()
    return ENDPOINTING_MS if text == "true" else None if text == "false" else value


def _keyword(value: object) -> str:
    """`word:boost` without the boost: all words are expected alike. One that is to be suppressed is not expected."""
    boosted = _BOOSTED.fullmatch(str(value))
    if boosted is None:
        return str(value).strip()
    return "" if boosted["boost"].startswith("-") else boosted["word"].strip()


def _replacement(value: object) -> Replacement:
    find, _, text = str(value).partition(":")
    words = tuple(bare(word) for word in find.split())
    if not words:
        raise ValueError("give 'find:replacement'")
    return Replacement(words, text.strip())


def _pair(value: object) -> tuple[str, str]:
    key, separator, text = str(value).partition(":")
    if not separator:
        raise ValueError("give 'key:value'")
    return key, text


_AS_TEXT = WithJsonSchema({"type": "string"})

Language = Annotated[str, BeforeValidator(_language)]


class ListenOptions(BaseModel):
    """The parameters that do something; the rest is kept to warn of it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: Annotated[str, BeforeValidator(_model)] = Field(
        default=AUTO,
        description="A model of `/v1/models`, `model:variant`, or `auto`, which Deepgram's names mean too.",
    )
    language: Language = Field(default="en", description="Code such as `en` or `en-US`; `multi` detects it.")
    detect_language: tuple[Annotated[str, BeforeValidator(_switch_or_language)], ...] = Field(
        default=(), max_length=MOST_VALUES, description="`true` detects it; codes, repeated, are the candidates."
    )
    language_hint: tuple[Language, ...] = Field(
        default=(), max_length=MOST_VALUES, description="Candidates, where the language is detected."
    )
    punctuate: bool | None = Field(
        default=None, description="`false` writes lower case without punctuation; else it is as the model writes it."
    )
    smart_format: bool = Field(default=False, description="As the model writes it, and for recordings `paragraphs`.")
    paragraphs: bool = Field(default=False, description="Recordings: add paragraphs with their sentences.")
    utterances: bool = Field(default=False, description="Recordings: add what lies between pauses.")
    utt_split: float = Field(default=0.8, gt=0, allow_inf_nan=False, description="Seconds of such a pause.")
    keywords: tuple[Annotated[str, BeforeValidator(_keyword)], ...] = Field(
        default=(),
        max_length=MOST_VALUES,
        description="Words to expect, as `word` or `word:boost`; all count alike, negative boosts not at all.",
    )
    keyterm: tuple[str, ...] = Field(default=(), max_length=MOST_VALUES, description="Words or phrases to expect.")
    replace: tuple[Annotated[Replacement, BeforeValidator(_replacement), _AS_TEXT], ...] = Field(
        default=(),
        max_length=MOST_VALUES,
        description="`find:replacement` writes another word or phrase in the place of one, or none.",
    )
    extra: tuple[Annotated[tuple[str, str], BeforeValidator(_pair), _AS_TEXT], ...] = Field(
        default=(), max_length=MOST_VALUES, description="`key:value` that comes back in the metadata."
    )
    tag: tuple[str, ...] = Field(
        default=(), max_length=MOST_VALUES, description="Comes back as `tags` in the metadata."
    )
    encoding: Annotated[str | None, BeforeValidator(_encoding)] = Field(
        default=None, description="`linear16`, `linear32`, `mulaw` or `alaw` of audio without a header."
    )
    sample_rate: int | None = Field(default=None, ge=1, le=MAX_SAMPLE_RATE, description="Of such audio, in Hz.")
    channels: int = Field(default=1, ge=1, le=MAX_CHANNELS, description="Of such audio, interleaved; they are mixed.")
    interim_results: bool = Field(default=False, description="Streams: results before they are final.")
    endpointing: Annotated[int | None, BeforeValidator(_endpointing), _AS_TEXT] = Field(
        default=ENDPOINTING_MS, ge=0, le=60_000, description="Streams: milliseconds of a pause; `false` for none."
    )
    utterance_end_ms: int | None = Field(
        default=None, ge=1000, le=5000, description="Streams: gap between words after which `UtteranceEnd` comes."
    )
    vad_events: bool = Field(default=False, description="Streams: tell when speech starts.")
    callback: str | None = Field(default=None, description="Refused: answers come on the connection alone.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.callback is not None:
            raise OptionError(
                "Callbacks are not possible here. Leave out 'callback' and read the answer.", param="callback"
            )
        check_words(self.keywords, param="keywords")
        check_words((*self.keywords, *self.keyterm), param="keyterm")
        if self.encoding in ("linear16", "linear32") and self.sample_rate is None:
            raise OptionError(f"The encoding {self.encoding} needs a sample_rate.", param="sample_rate")
        return self

    @property
    def detects(self) -> bool:
        """Whether the language is to be found out."""
        return self.language == MULTI or any(value != "false" for value in self.detect_language)

    @property
    def plain(self) -> bool:
        """Whether words are written in lower case without punctuation."""
        return self.punctuate is False and not self.smart_format

    @property
    def wants_paragraphs(self) -> bool:
        return self.paragraphs or self.smart_format

    def options(self) -> Options:
        candidates = (*(value for value in self.detect_language if value not in ("true", "false")), *self.language_hint)
        return Options(
            language=None if self.detects else self.language,
            languages=tuple(code for code in candidates if code != MULTI) if self.detects else (),
            hotwords=tuple(word for word in (*self.keywords, *self.keyterm) if word),
            word_times=True,
        )

    def raw(self) -> RawFormat | None:
        if self.encoding not in _RAW:
            return None
        return RawFormat(_RAW[self.encoding], self.sample_rate or G711_SAMPLE_RATE, self.channels)

    def stream_request(self, model: str, *, client: str) -> StreamRequest:
        """What a live stream asks of the engine.

        Raises:
            OptionError: `utterance_end_ms` without the interim results that it is told from.
        """
        if self.utterance_end_ms is not None and not self.interim_results:
            raise OptionError("utterance_end_ms needs interim_results=true.", param="utterance_end_ms")
        return StreamRequest(
            model=model,
            options=self.options(),
            raw=self.raw(),
            vad=VadOptions(silence_duration_ms=ENDPOINTING_MS if self.endpointing is None else self.endpointing),
            turns=self.endpointing is not None,
            interims=self.interim_results,
            utterance_gap_s=None if self.utterance_end_ms is None else self.utterance_end_ms / 1000,
            client=client,
        )

    def warnings(self, *, live: bool) -> list[OptionWarning]:
        """All that was asked for and is not done."""
        misplaced = sorted(self.model_fields_set & (_RECORDED_ONLY if live else _LIVE_ONLY))
        where = "for recordings alone" if live else "for live streams alone"
        return [
            *(
                OptionWarning(parameter=name, type="unsupported", message=f"Ignored: it is {where}.")
                for name in misplaced
            ),
            *(_warning(name) for name, value in (self.model_extra or {}).items() if _asks(name, value)),
        ]


def parse(query: Iterable[tuple[str, str]]) -> ListenOptions:
    """The checked options.

    Raises:
        OptionError: a parameter has a wrong value, was given twice, or is refused.
    """
    given = [(name, value) for name, value in query if name not in QUERY_NAMES]
    try:
        return ListenOptions.model_validate(gather(given, lists={name for name, _ in given} - _SINGLE))
    except ValidationError as error:
        raise explained(error) from error


def encoding_of(raw: RawFormat) -> str:
    """The protocol's name for an encoding.

    Raises:
        OptionError: it has none.
    """
    names = {meant: name for name, meant in _RAW.items()}
    if raw.encoding not in names:
        raise OptionError(
            f"A server takes no stream of {raw.encoding}. Send {', '.join(names)}, or use no server.", param="encoding"
        )
    return names[raw.encoding]


def engine_name(asked: str, infos: Sequence[ModelInfo]) -> str:
    """The engine's name for a model. Deepgram's own leave the choice to the server, unless one here has that name.

    Raises:
        ModelNotFound: neither this server nor Deepgram has it.
    """
    here = {name for info in infos for name in (info.manifest.name, info.manifest.model)}
    means_any = asked not in here and _CLOUD_MODEL.fullmatch(asked)
    return select(infos, asked=AUTO if means_any else asked).model


_LISTS = frozenset({"detect_language", "language_hint", "keywords", "keyterm", "replace", "extra", "tag"})
_SINGLE = frozenset(ListenOptions.model_fields) - _LISTS


def _warning(name: str) -> OptionWarning:
    if name in IMPOSSIBLE:
        return OptionWarning(parameter=name, type="unsupported", message=f"Not possible here: {IMPOSSIBLE[name]}.")
    return OptionWarning(parameter=name, type="unknown", message="There is no such parameter here.")


def _asks(name: str, values: object) -> bool:
    """Whether a parameter that does nothing was meant to do something."""
    if name in NEEDLESS:
        return False
    given = {str(value).lower() for value in values} if isinstance(values, list) else {str(values).lower()}
    return name not in IMPOSSIBLE or not given <= (_OFF | ({"1"} if name == "alternatives" else set()))
