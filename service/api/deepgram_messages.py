"""The messages of Deepgram's live protocol: what happens on a stream in, what its client is told out. Pure."""

from typing import Literal

from pydantic import BaseModel, Field

from model_store.manifest import Manifest
from service.api.deepgram_options import MOST_VALUES, ListenOptions
from service.api.deepgram_results import (
    AlternativeBody,
    MetadataBody,
    ModelBody,
    heard,
    model_body,
    model_uuid,
)
from service.engine.streaming import Final, Interim

CHANNEL = (0, 1)
"""The first of one: all are mixed."""

TICKS_PER_S = 2**13
"""The grid of where results begin and end: binary fractions, whose sums are exact in the arithmetic of any client."""

ALWAYS_ON = frozenset({"punctuate", "smart_format"})
"""Features that cannot be turned off while a stream runs; all others cannot be turned on."""

FailureCode = Literal["CONFIGURE_KEYTERMS_NOT_SUPPORTED", "CONFIGURE_INTERNAL_ERROR"]


class ControlMessage(BaseModel):
    """What a client says in text. `keyterms` and `features` go with Configure."""

    type: Literal["KeepAlive", "Finalize", "CloseStream", "Configure"]
    keyterms: tuple[str, ...] | None = Field(default=None, max_length=MOST_VALUES)
    features: dict[str, bool] = Field(default_factory=dict, max_length=MOST_VALUES)

    def impossible(self) -> tuple[str, ...]:
        """Features that cannot be as they are asked for."""
        return tuple(name for name, on in self.features.items() if on != (name in ALWAYS_ON))


class HeardBody(BaseModel):
    """The channel of a result."""

    alternatives: list[AlternativeBody]


class HearerBody(BaseModel):
    """What heard it, and for which stream."""

    request_id: str
    model_info: ModelBody
    model_uuid: str
    extra: dict[str, str] | None = None


class ResultsMessage(BaseModel):
    """What was said in a part of the stream, so far or for good."""

    type: Literal["Results"] = "Results"
    channel_index: tuple[int, int] = CHANNEL
    duration: float
    start: float
    is_final: bool
    speech_final: bool
    channel: HeardBody
    metadata: HearerBody
    from_finalize: bool


class SpeechStartedMessage(BaseModel):
    """Somebody began to speak."""

    type: Literal["SpeechStarted"] = "SpeechStarted"
    channel: tuple[int, int] = CHANNEL
    timestamp: float


class UtteranceEndMessage(BaseModel):
    """Nobody has said a word for as long as was asked for."""

    type: Literal["UtteranceEnd"] = "UtteranceEnd"
    channel: tuple[int, int] = CHANNEL
    last_word_end: float


class MetadataMessage(MetadataBody):
    """The last message of a stream that ended well."""

    type: Literal["Metadata"] = "Metadata"


class ErrorMessage(BaseModel):
    """Something was not understood, and the stream goes on: a message of the client's, or what was said.

    All four keys are required by one version or another of deepgram-sdk.
    """

    type: Literal["Error"] = "Error"
    variant: Literal["SchemaError", "RecognitionFailed"]
    description: str
    message: str


class ConfiguredMessage(BaseModel):
    """Configure took effect."""

    type: Literal["ConfigureSuccess"] = "ConfigureSuccess"
    request_id: str
    keyterms: tuple[str, ...] | None = None


class NotConfiguredMessage(BaseModel):
    """Configure took no effect."""

    type: Literal["ConfigureFailure"] = "ConfigureFailure"
    request_id: str
    code: FailureCode
    description: str


def results(event: Interim | Final, options: ListenOptions, *, hearer: Manifest, request_id: str) -> ResultsMessage:
    """The message for a part of the stream.

    Args:
        event: the part.
        options: of the stream.
        hearer: the variant that heard it, or would have, had somebody spoken.
        request_id: of the stream.
    """
    start, duration = extent(event.start_s, event.end_s)
    cut = event.cut if isinstance(event, Final) else None
    languages = event.languages if isinstance(event, Final) else ()
    return ResultsMessage(
        start=start,
        duration=duration,
        is_final=cut is not None,
        speech_final=cut == "pause",
        channel=HeardBody(alternatives=[heard(event.segments, languages, options)]),
        metadata=HearerBody(
            request_id=request_id,
            model_info=model_body(hearer),
            model_uuid=model_uuid(hearer),
            extra=dict(options.extra) or None,
        ),
        from_finalize=cut == "asked",
    )


def extent(start_s: float, end_s: float) -> tuple[float, float]:
    """Start and duration, which add up to the start of what begins at `end_s`, to the last bit."""
    start = _on_grid(start_s)
    return start, _on_grid(end_s) - start


def _on_grid(time_s: float) -> float:
    return round(time_s * TICKS_PER_S) / TICKS_PER_S
