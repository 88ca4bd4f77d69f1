"""A running server to stream to: audio out, what it says is said in. It speaks Deepgram's protocol, `WS /v1/listen`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.http11 import Response

from service.api.deepgram_errors import RefusalBody
from service.api.deepgram_messages import (
    ControlMessage,
    ErrorMessage,
    ResultsMessage,
    SpeechStartedMessage,
    UtteranceEndMessage,
)
from service.api.deepgram_options import encoding_of
from service.cli.options import complain, fail
from service.cli.spoken import Spoken, SpokenWord
from service.engine.streaming import StreamRequest

CONNECT_S = 10.0

ALIVE_S = 4.0
"""How often it is told that more will come: a server waits some ten seconds for audio."""


class _Named(BaseModel):
    type: str


class RemoteLine:
    """A stream of a server."""

    def __init__(self, connection: ClientConnection, url: str) -> None:
        self._connection, self._url = connection, url

    async def feed(self, audio: bytes) -> None:
        await self._send(audio)

    async def finish(self) -> None:
        await self._send(_control("CloseStream"))

    async def told(self) -> AsyncIterator[Spoken]:
        """What the server tells; what it cannot do ends the command."""
        try:
            async for message in self._connection:
                event = told_by(message)
                if event is not None:
                    yield event
        except ConnectionClosed as error:
            closing = error.rcvd
            reason = closing.reason or f"it closed the stream ({closing.code})" if closing else "the connection broke"
            fail(f"The server at {self._url} ended the stream: {reason}")
        except ValidationError:
            fail(f"What answers at {self._url} is no Wren server, or one of another version.")

    async def keep_alive(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_S)
            await self._send(_control("KeepAlive"))

    async def _send(self, message: bytes | str) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed:
            return  # `told` says why


@asynccontextmanager
async def remote_line(url: str, key: str | None, request: StreamRequest) -> AsyncIterator[RemoteLine]:
    """Open a stream on the server at `url`; what keeps that from being so ends the command."""
    address = f"{url.replace('http', 'ws', 1)}/v1/listen?{query_of(request)}"
    headers = {"authorization": f"Token {key}"} if key else {}
    try:
        connection = await connect(address, additional_headers=headers, open_timeout=CONNECT_S, max_size=None)
    except InvalidStatus as error:
        fail(_refusal(url, error.response))
    except (OSError, InvalidHandshake, InvalidURI) as error:  # a time-out is an OSError
        reason = str(error) or type(error).__name__
        fail(f"No server answers at {url}: {reason}. Start it (`wren serve`), or say where it is (--server).")
    async with connection:
        line = RemoteLine(connection, url)
        alive = asyncio.create_task(line.keep_alive())
        try:
            yield line
        finally:
            alive.cancel()


def query_of(request: StreamRequest) -> str:
    """What the protocol calls what is asked.

    Raises:
        OptionError: it has no name for the encoding of the audio.
    """
    options = request.options
    asked: list[tuple[str, str | int]] = [
        ("model", request.model),
        ("language", options.language or "multi"),
        ("interim_results", "true"),
        ("vad_events", "true"),
        ("endpointing", request.vad.silence_duration_ms),
        *(("keyterm", word) for word in options.hotwords),
    ]
    if request.raw is not None:
        raw = request.raw
        asked += [("encoding", encoding_of(raw)), ("sample_rate", raw.sample_rate), ("channels", raw.channels)]
    return urlencode(asked)


def told_by(message: str | bytes) -> Spoken | None:
    """What a message of the server tells; None where there is nothing to show.

    Raises:
        ValidationError: it is none that a server of this version sends.
    """
    match _Named.model_validate_json(message).type:
        case "Results":
            return _result(ResultsMessage.model_validate_json(message))
        case "SpeechStarted":
            at_s = SpeechStartedMessage.model_validate_json(message).timestamp
            return Spoken(type="speech_started", start=at_s, end=at_s)
        case "UtteranceEnd":
            at_s = UtteranceEndMessage.model_validate_json(message).last_word_end
            return Spoken(type="utterance_ended", start=at_s, end=at_s)
        case "Error":
            complain(ErrorMessage.model_validate_json(message).description)
    return None


def _result(message: ResultsMessage) -> Spoken:
    said = message.channel.alternatives[0]
    words = [
        SpokenWord(word=word.punctuated_word or word.word, start=word.start, end=word.end, confidence=word.confidence)
        for word in said.words
    ]
    return Spoken(
        type="final" if message.is_final else "interim",
        start=message.start,
        end=message.start + message.duration,
        text=said.transcript,
        words=tuple(words) or None,
    )


def _control(kind: str) -> str:
    return ControlMessage.model_validate({"type": kind}).model_dump_json(include={"type"})


def _refusal(url: str, response: Response) -> str:
    try:
        return f"The server at {url} refuses: {RefusalBody.model_validate_json(response.body or b'').err_msg}"
    except ValidationError:
        return f"{url} answers with status {response.status_code}, and not as Wren does."
