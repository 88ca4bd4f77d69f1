"""A transcript in, the body of each response format out. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from service.api import subtitles
from service.api.forms import ResponseFormat
from service.recognition import languages
from service.recognition.types import Segment, Token, Transcript, Word

AUDIO_TOKENS_PER_S = 10
"""What the OpenAI service bills for a second of audio; used where the protocol wants tokens."""


class Logprob(BaseModel):
    """A token with its log-probability. A character may span tokens, hence the bytes."""

    token: str
    logprob: float
    bytes: list[int]


class DetectedLanguage(BaseModel):
    """The language of the recording."""

    code: str


class DurationUsage(BaseModel):
    """Audio used, in started seconds."""

    type: Literal["duration"] = "duration"
    seconds: int


class TokenUsage(BaseModel):
    """Audio used, in tokens as the OpenAI service counts them, and the text tokens made of it."""

    type: Literal["tokens"] = "tokens"
    input_tokens: int
    output_tokens: int
    total_tokens: int


class JsonBody(BaseModel):
    """`json`."""

    text: str
    languages: list[DetectedLanguage] | None = None
    logprobs: list[Logprob] | None = None
    usage: DurationUsage


class ProbableLanguage(DetectedLanguage):
    """A language the recording may be in."""

    probability: float


class SegmentBody(BaseModel):
    """A segment of `verbose_json`. `seek` is its start in hundredths of a second; `confidence` is ours."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    confidence: float


class WordBody(BaseModel):
    """A word of `verbose_json`; `confidence` is ours."""

    word: str
    start: float
    end: float
    confidence: float


class VerboseBody(BaseModel):
    """`verbose_json`. `language` is the full English name; `languages`, the most probable first, is ours."""

    task: str
    language: str
    duration: float
    text: str
    segments: list[SegmentBody]
    words: list[WordBody] | None = None
    languages: list[ProbableLanguage]
    usage: DurationUsage


LANGUAGES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Rendered:
    """A body with its content type."""

    content: str
    media_type: str


def render(
    transcript: Transcript, response_format: ResponseFormat, *, words: bool = False, logprobs: bool = False
) -> Rendered:
    """The transcript in one of the formats of the OpenAI protocol."""
    match response_format:
        case "text":
            return Rendered(transcript.text + "\n" if transcript.text else "", "text/plain")
        case "srt":
            return Rendered(subtitles.srt(transcript.segments), "text/plain")
        case "vtt":
            return Rendered(subtitles.vtt(transcript.segments), "text/vtt")
        case "verbose_json":
            return _json(verbose_body(transcript, words=words))
        case _:
            return _json(json_body(transcript, logprobs=logprobs))


def json_body(transcript: Transcript, *, logprobs: bool) -> JsonBody:
    return JsonBody(
        text=transcript.text,
        languages=[DetectedLanguage(code=language.code) for language in transcript.languages[:1]] or None,
        logprobs=token_logprobs(transcript.segments) if logprobs else None,
        usage=_usage(transcript),
    )


def verbose_body(transcript: Transcript, *, words: bool) -> VerboseBody:
    return VerboseBody(
        task=transcript.task,
        language=_language_name(transcript),
        duration=round(transcript.duration_s, 3),
        text=transcript.text,
        segments=[_segment(number, segment) for number, segment in enumerate(transcript.segments)],
        words=[_word(word) for segment in transcript.segments for word in segment.words] if words else None,
        languages=[
            ProbableLanguage(code=language.code, probability=round(language.probability, 4))
            for language in transcript.languages[:LANGUAGES_SHOWN]
        ],
        usage=_usage(transcript),
    )


def token_logprobs(segments: Iterable[Segment]) -> list[Logprob]:
    return [_logprob(token) for segment in segments for token in segment.tokens]


def token_usage(transcript: Transcript) -> TokenUsage:
    heard = math.ceil(transcript.duration_s * AUDIO_TOKENS_PER_S)
    written = sum(len(segment.tokens) for segment in transcript.segments)
    return TokenUsage(input_tokens=heard, output_tokens=written, total_tokens=heard + written)


def _json(body: BaseModel) -> Rendered:
    return Rendered(body.model_dump_json(exclude_none=True), "application/json")


def _usage(transcript: Transcript) -> DurationUsage:
    return DurationUsage(seconds=math.ceil(transcript.duration_s))


def _language_name(transcript: Transcript) -> str:
    """A translation is English whatever was spoken."""
    if transcript.task == "translate":
        return languages.name_of("en")
    return languages.name_of(transcript.languages[0].code)


def _logprob(token: Token) -> Logprob:
    return Logprob(token=token.piece.decode("utf-8", errors="replace"), logprob=token.logprob, bytes=list(token.piece))


def _segment(number: int, segment: Segment) -> SegmentBody:
    return SegmentBody(
        id=number,
        seek=round(segment.start_s * 100),
        start=round(segment.start_s, 3),
        end=round(segment.end_s, 3),
        text=segment.text,
        tokens=[token.id for token in segment.tokens],
        temperature=segment.temperature,
        avg_logprob=segment.avg_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_prob,
        confidence=round(segment.confidence, 4),
    )


def _word(word: Word) -> WordBody:
    return WordBody(
        word=word.text.strip(),
        start=round(word.start_s, 3),
        end=round(word.end_s, 3),
        confidence=round(word.confidence, 4),
    )
