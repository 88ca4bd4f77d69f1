"""What a client of the Realtime protocol says: its text in, checked messages out. Pure."""

import binascii
from base64 import b64decode
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from service.api.errors import INVALID_REQUEST, ErrorDetail
from service.api.realtime_configuration import Configuration

MAX_AUDIO_BYTES = 15 * 2**20
"""Of one `append`, as OpenAI has it."""

_SHOWN = 80


class BadEvent(Exception):
    """A client's message that means nothing here; the session goes on."""

    def __init__(self, detail: ErrorDetail, event_id: str | None = None) -> None:
        self.detail, self.event_id = detail, event_id
        super().__init__(detail.message)


class ClientEvent(BaseModel):
    """What every message of a client may have."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: str | None = None


class Update(ClientEvent):
    type: Literal["session.update", "transcription_session.update"]
    session: Configuration


class Append(ClientEvent):
    type: Literal["input_audio_buffer.append"]
    audio: str

    def decoded(self) -> bytes:
        """The bytes of the audio.

        Raises:
            BadEvent: it is not base64, or too much at once.
        """
        try:
            audio = b64decode(self.audio, validate=True)
        except (binascii.Error, ValueError) as error:
            raise refused("The field 'audio' is not base64.", "invalid_value", "audio", self.event_id) from error
        if len(audio) > MAX_AUDIO_BYTES:
            much = f"The field 'audio' holds {len(audio)} bytes; send at most {MAX_AUDIO_BYTES} at once."
            raise refused(much, "invalid_value", "audio", self.event_id)
        return audio


class Commit(ClientEvent):
    type: Literal["input_audio_buffer.commit"]


class Clear(ClientEvent):
    type: Literal["input_audio_buffer.clear"]


Asked = Update | Append | Commit | Clear
_ASKED: TypeAdapter[Asked] = TypeAdapter(Annotated[Asked, Field(discriminator="type")])


def refused(message: str, code: str, param: str | None = None, event_id: str | None = None) -> BadEvent:
    return BadEvent(ErrorDetail(message=message, type=INVALID_REQUEST, param=param, code=code), event_id)


def parse(message: str | bytes) -> Asked:
    """What the client asks.

    Raises:
        BadEvent: it is none of the protocol's messages, or a field is missing or has a wrong value.
    """
    if isinstance(message, bytes):
        raise refused("Messages are JSON text; a binary one came. Send audio as base64 in an append.", "invalid_event")
    try:
        read = from_json(message)
    except ValueError as error:
        raise refused(f"The message is not JSON: {error}.", "invalid_event") from error
    given = read.get("event_id") if isinstance(read, dict) else None
    event_id = given if isinstance(given, str) else None
    try:
        return _ASKED.validate_python(read)
    except ValidationError as error:
        raise _explained(error.errors()[0], event_id) from error


def _explained(details: ErrorDetails, event_id: str | None) -> BadEvent:
    if details["type"].startswith("union_tag") and not details["loc"]:
        return refused(f"The field 'type' {_of_types(details)}.", "invalid_event", "type", event_id)
    if not details["loc"]:
        return refused("The message must be a JSON object.", "invalid_event", None, event_id)
    param = ".".join(str(part) for part in details["loc"][1:] if part not in _TAGS)
    if details["type"] == "missing":
        return refused(f"The field '{param}' is missing.", "missing_required_parameter", param, event_id)
    reason = details["msg"].removeprefix("Value error, ")
    wrong = f"The field '{param}' is {str(details['input'])[:_SHOWN]!r}: {reason}."
    return refused(wrong, "invalid_value", param, event_id)


_TAGS = ("audio/pcm", "audio/pcmu", "audio/pcma", "server_vad", "semantic_vad")
"""What pydantic names beside the fields on the way to a fault."""


def _of_types(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    if "tag" not in context:
        return "is missing"
    return f"is {str(context['tag'])[:_SHOWN]!r}; a transcription session knows {context['expected_tags']}"
