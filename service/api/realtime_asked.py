"""What a client of the Realtime protocol says: its text in, checked messages out. Pure.

Whatever is long is audio: it is taken out of the text, so that what is read as JSON is always short.
"""

import asyncio
import re
from base64 import b64decode
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from service.api.errors import INVALID_REQUEST, ErrorDetail
from service.api.realtime_configuration import Configuration

MAX_AUDIO_BYTES = 15 * 2**20
"""Of one `append`, as OpenAI has it."""

MOST_CHARACTERS = 64 * 2**10
"""Of a message, but for the audio that it has."""

_MOST_BASE64 = 4 * -(-MAX_AUDIO_BYTES // 3)
_PIECE = 2**18
"""Characters of base64 that are decoded at a time, well under a millisecond: whole bytes, whatever the place."""

_AT_ONCE = 2**20
"""Characters of base64 that need no thread of their own."""

_AUDIO_BEGINS = re.compile(r'"audio"\s*:\s*"')
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

    async def decoded(self) -> bytes:
        """The bytes of the audio.

        Raises:
            BadEvent: it is not base64, or too much at once.
        """
        if len(self.audio) > _MOST_BASE64:
            much = f"The field 'audio' holds more than the {MAX_AUDIO_BYTES} bytes that may be sent at once."
            raise refused(much, "invalid_value", "audio", self.event_id)
        try:
            if len(self.audio) <= _AT_ONCE:
                return _bytes_of(self.audio)
            return await asyncio.to_thread(_bytes_of, self.audio)
        except ValueError as error:
            raise refused("The field 'audio' is not base64.", "invalid_value", "audio", self.event_id) from error


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
    if len(message) <= MOST_CHARACTERS:
        return _parse(message)
    rest, audio = _parted(message)
    if len(rest) <= MOST_CHARACTERS:
        event = _parse(rest)
        if isinstance(event, Append) and not event.audio:
            return event.model_copy(update={"audio": audio})
    much = f"The message has {len(message)} characters; it may have {MOST_CHARACTERS}, but for the audio of an append."
    raise refused(much, "invalid_event")


def _parse(message: str) -> Asked:
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


def _parted(message: str) -> tuple[str, str]:
    """The message with its audio left empty, and that audio; nothing where none begins early on."""
    begins = _AUDIO_BEGINS.search(message, 0, MOST_CHARACTERS)
    end = message.find('"', begins.end()) if begins else -1
    if begins is None or end < 0:
        return message, ""
    # Some escape the slashes of base64, as JSON lets them.
    return message[: begins.end()] + message[end:], message[begins.end() : end].replace("\\/", "/")


def _bytes_of(audio: str) -> bytes:
    """Piece by piece, for the decoder lets no other thread run meanwhile.

    Raises:
        ValueError: it is not base64.
    """
    pieces = [audio[at : at + _PIECE] for at in range(0, len(audio), _PIECE)]
    if any(piece.endswith("=") for piece in pieces[:-1]):
        raise ValueError("it ends before its end")
    return b"".join(b64decode(piece, validate=True) for piece in pieces)


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
