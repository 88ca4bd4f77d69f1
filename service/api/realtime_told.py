"""What the server says in the Realtime protocol, as models."""

import uuid
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field

from service.api.errors import ErrorDetail, failure_of
from service.api.formats import Logprob
from service.api.realtime_configuration import Audio, Configuration, Included, NoiseReduction, Transcription, Turns


def new_id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:24]}"


class ServerEvent(BaseModel):
    """What every message of the server has."""

    event_id: str = Field(default_factory=lambda: new_id("event"))


class TranscriptionSession(BaseModel):
    """A session with all of its configuration."""

    id: str
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    type: Literal["transcription"] = "transcription"
    expires_at: int
    audio: Audio
    include: tuple[Included, ...]


class OlderTranscriptionSession(TranscriptionSession):
    """The same, with the names of the older dialect beside the newer ones."""

    input_audio_format: Literal["pcm16", "g711_ulaw", "g711_alaw"]
    input_audio_noise_reduction: NoiseReduction | None
    input_audio_transcription: Transcription
    turn_detection: Turns | None


class SessionCreated(ServerEvent):
    type: Literal["session.created"] = "session.created"
    session: TranscriptionSession | OlderTranscriptionSession


UpdatedType = Literal["session.updated", "transcription_session.updated"]
"""The second is the older dialect's."""


class SessionUpdated(ServerEvent):
    type: UpdatedType = "session.updated"
    session: TranscriptionSession | OlderTranscriptionSession


class SpeechStartedEvent(ServerEvent):
    type: Literal["input_audio_buffer.speech_started"] = "input_audio_buffer.speech_started"
    audio_start_ms: int
    item_id: str


class SpeechStoppedEvent(ServerEvent):
    type: Literal["input_audio_buffer.speech_stopped"] = "input_audio_buffer.speech_stopped"
    audio_end_ms: int
    item_id: str


class Committed(ServerEvent):
    type: Literal["input_audio_buffer.committed"] = "input_audio_buffer.committed"
    item_id: str
    previous_item_id: str | None


class ClearedEvent(ServerEvent):
    type: Literal["input_audio_buffer.cleared"] = "input_audio_buffer.cleared"


class Content(BaseModel):
    """Audio that is not given back, its transcript to come."""

    type: Literal["input_audio"] = "input_audio"
    transcript: str | None = None


class Item(BaseModel):
    """A turn of the speaker."""

    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    status: Literal["completed"] = "completed"
    role: Literal["user"] = "user"
    content: tuple[Content, ...] = (Content(),)


class ItemEvent(ServerEvent):
    """`created` is the older dialect's."""

    type: Literal["conversation.item.added", "conversation.item.done", "conversation.item.created"]
    previous_item_id: str | None
    item: Item


class Delta(ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.delta"] = (
        "conversation.item.input_audio_transcription.delta"
    )
    item_id: str
    content_index: int = 0
    delta: str


class Seconds(BaseModel):
    """The audio of the item."""

    type: Literal["duration"] = "duration"
    seconds: float


class Completed(ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.completed"] = (
        "conversation.item.input_audio_transcription.completed"
    )
    item_id: str
    content_index: int = 0
    transcript: str
    usage: Seconds
    logprobs: list[Logprob] | None = None


class Failed(ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.failed"] = (
        "conversation.item.input_audio_transcription.failed"
    )
    item_id: str
    content_index: int = 0
    error: ErrorDetail


class EventError(ErrorDetail):
    """What was wrong, and with which of the client's messages."""

    event_id: str | None = None


class ErrorEvent(ServerEvent):
    type: Literal["error"] = "error"
    error: EventError


def error_event(detail: ErrorDetail, event_id: str | None = None) -> ErrorEvent:
    return ErrorEvent(error=EventError(**detail.model_dump(), event_id=event_id))


def failure_event(error: Exception, event_id: str | None = None) -> ErrorEvent:
    """A fault of the engine or of this server, as `errors` has it."""
    return error_event(failure_of(error).detail, event_id)


_OLDER_FORMATS: Mapping[str, Literal["pcm16", "g711_ulaw", "g711_alaw"]] = {
    "audio/pcm": "pcm16",
    "audio/pcmu": "g711_ulaw",
    "audio/pcma": "g711_alaw",
}


def session_of(configuration: Configuration, *, session_id: str, expires_at: int, older: bool) -> TranscriptionSession:
    """As it is told to the client, in its dialect."""
    session = TranscriptionSession(
        id=session_id, expires_at=expires_at, audio=configuration.audio, include=configuration.include
    )
    if not older:
        return session
    heard = configuration.input
    return OlderTranscriptionSession(
        **dict(session),
        input_audio_format=_OLDER_FORMATS[heard.format.type],
        input_audio_noise_reduction=heard.noise_reduction,
        input_audio_transcription=heard.transcription,
        turn_detection=heard.turn_detection,
    )
