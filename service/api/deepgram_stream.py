"""`WS /v1/listen`: live audio as Deepgram's clients send it, to the engine and back."""

import asyncio
import hashlib
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError

from model_store.manifest import Manifest
from service.api import auth
from service.api.client import client_of
from service.api.deepgram import PATH
from service.api.deepgram_errors import REQUEST_ID_HEADER, refusal
from service.api.deepgram_messages import (
    ConfiguredMessage,
    ControlMessage,
    ErrorMessage,
    MetadataMessage,
    NotConfiguredMessage,
    SpeechStartedMessage,
    UtteranceEndMessage,
    results,
)
from service.api.deepgram_options import ListenOptions, engine_name, parse
from service.api.deepgram_results import metadata_body, seconds
from service.api.deepgram_words import check_words
from service.api.draining import Draining
from service.api.gate import Gate
from service.api.quota import RateLimited
from service.api.selection import find
from service.api.sockets import FAULT, NORMAL, POLICY, RESTARTING, TRY_LATER, Socket, converse
from service.api.trace import Trace, trace_of
from service.engine.streaming import (
    Final,
    Interim,
    SpeechStarted,
    Stream,
    StreamEvent,
    StreamRequest,
    UtteranceEnded,
)
from service.engine.types import Engine
from service.errors import AudioError, OptionError, WrenError
from service.settings import Settings

IDLE_S = 10.0
"""Deepgram's own; its clients send KeepAlive every 3 to 5 s."""

SILENT_CLIENT = (
    "NET-0001: did not receive audio data or a text message within the timeout window. See https://dpgr.am/net0001"
)
"""Deepgram's words: clients look for the code or the address in them."""

UNDECODABLE = "DATA-0000"

STOPPING = "The server stops. Open another stream."

CUT_OFF = "The server ended the stream before all of it was heard. Open another."

MOST_CHARACTERS = 2**16
"""Of a text message, before it is read: the longest that is needed has 8 KiB of words to expect."""

MOST_ECHOED = 1000
"""Characters of a message that was not understood, in the answer to it."""

_KNOWN = "The types are KeepAlive, Finalize, CloseStream and Configure, in a JSON object; audio is binary."

MOST_NAMED = 40
"""Characters of a field's name there."""

LARGE_BYTES = 2**20
"""A message whose digest takes longer than others should wait for: about a millisecond."""


class StreamRoutes:
    """The route. What is wrong with a handshake is answered as with a recording, and no WebSocket opened."""

    def __init__(
        self, settings: Settings, engine: Engine, gate: Gate, draining: Draining, *, idle_s: float = IDLE_S
    ) -> None:
        self._settings = settings
        self._draining = draining
        self._gate = gate
        self._engine = engine
        self._idle_s = idle_s
        self.router = APIRouter()
        self.router.add_api_websocket_route(PATH, self.listen)

    async def listen(self, websocket: WebSocket) -> None:
        trace = trace_of(websocket)
        async with AsyncExitStack() as stack:
            try:
                self._gate.let_in(websocket)
                asked = self._asked(websocket)
                stream = await stack.enter_async_context(self._engine.listen(asked.request))
            except WrenError as error:
                await websocket.send_denial_response(refusal(error, request_id=trace.request_id))
                return
            socket = Socket(websocket)
            await socket.accept(subprotocol=_subprotocol(websocket), headers={REQUEST_ID_HEADER: trace.request_id})
            times = _Times(idle_s=self._idle_s, most_s=self._settings.max_stream_s)
            with self._draining.session():
                await _Session(socket, stream, asked, trace, times).run(self._draining)

    def _asked(self, websocket: WebSocket) -> "_Asked":
        options, infos = parse(websocket.query_params.multi_items()), self._engine.models()
        model = engine_name(options.model, infos)
        client = client_of(websocket)
        return _Asked(options, options.stream_request(model, client=client), find(infos, model).manifest)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the client asked for, what the engine is asked, and the variant that serves it as far as is known then."""

    options: ListenOptions
    request: StreamRequest
    hearer: Manifest


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds: without a message, and of the whole session."""

    idle_s: float
    most_s: float


class _Session:
    """One stream, from the handshake on."""

    def __init__(self, socket: Socket, stream: Stream, asked: _Asked, trace: Trace, times: _Times) -> None:
        self._socket, self._stream = socket, stream
        self._options, self._request, self._hearer = asked.options, asked.request, asked.hearer
        self._trace, self._times = trace, times
        self._created = datetime.now(UTC)
        self._received = hashlib.sha256()
        self._heard_s = 0.0
        self._whole = False
        self._farewell = (NORMAL, "")

    async def run(self, draining: Draining) -> None:
        await draining.unless_cut(converse(self._hear(draining), self._tell()))
        await self._socket.close(RESTARTING, CUT_OFF)  # whoever was told goodbye hears nothing of it

    async def _hear(self, draining: Draining) -> None:
        """Until the client leaves; what it says after it closed the stream, or the server is to stop, is not heard."""
        still_there = await draining.unless_begun(self._take_all())
        if still_there is None:
            self._farewell = (RESTARTING, STOPPING)
        if still_there is not False:
            await self._stream.finish()
            while await self._socket.receive() is not None:
                pass

    async def _take_all(self) -> bool:
        """Whether the client is still there when no more audio comes."""
        clock = asyncio.get_running_loop()
        end_s = clock.time() + self._times.most_s
        while (left_s := end_s - clock.time()) > 0:
            try:
                message = await self._socket.receive(within_s=min(left_s, self._times.idle_s))
            except TimeoutError:
                if self._times.idle_s < left_s:
                    self._farewell = (FAULT, SILENT_CLIENT)
                return True
            if message is None:
                return False
            if not await self._take(message):
                return True
        return True

    async def _take(self, message: bytes | str) -> bool:
        """Whether more is to come."""
        if isinstance(message, str):
            return await self._obey(message)
        if not message:
            return False
        if len(message) < LARGE_BYTES:
            self._received.update(message)
        else:
            await asyncio.to_thread(self._received.update, message)
        await self._stream.feed(message)
        return True

    async def _obey(self, text: str) -> bool:
        """Do what a text message asks for; whether more is to come."""
        try:
            control = _control(text)
        except OptionError as error:
            await self._complain("SchemaError", str(error), text[:MOST_ECHOED])
            return True
        if control.type == "Finalize":
            await self._stream.commit()
        elif control.type == "Configure":
            await self._socket.send(await self._configured(control), nulls=False)
        return control.type != "CloseStream"

    async def _configured(self, control: ControlMessage) -> ConfiguredMessage | NotConfiguredMessage:
        request_id = self._trace.request_id
        if impossible := control.impossible():
            description = f"These features cannot be changed here: {', '.join(impossible)}."
            return NotConfiguredMessage(request_id=request_id, code="CONFIGURE_INTERNAL_ERROR", description=description)
        if control.keyterms is None:
            return ConfiguredMessage(request_id=request_id)
        wanted = replace(self._request, options=replace(self._request.options, hotwords=control.keyterms))
        try:
            check_words(control.keyterms, param="keyterms")
            await self._stream.configure(wanted)
        except OptionError as error:
            return NotConfiguredMessage(
                request_id=request_id, code="CONFIGURE_KEYTERMS_NOT_SUPPORTED", description=str(error)
            )
        self._request = wanted
        return ConfiguredMessage(request_id=request_id, keyterms=control.keyterms)

    async def _tell(self) -> None:
        """Until the stream is over, and why, unless the client leaves first."""
        try:
            async for event in self._stream.events():
                await self._report(event)
                if isinstance(event, Final) and event.cut != "end":
                    self._trace.check_audio()
        except AudioError as error:
            await self._socket.close(POLICY, f"{UNDECODABLE}: {error}")
        except RateLimited as error:
            await self._socket.close(TRY_LATER, str(error))
        except WrenError as error:
            await self._socket.close(FAULT, str(error))
        else:
            await self._part()

    async def _part(self) -> None:
        """Sum up a stream that ended as it should; the engine ends one before when it is closed."""
        if not self._whole:
            await self._socket.close(RESTARTING, CUT_OFF)
            return
        await self._socket.send(self._metadata(), nulls=False)
        await self._socket.close(*self._farewell)

    async def _report(self, event: StreamEvent) -> None:
        match event:
            case Interim() | Final():
                await self._report_text(event)
            case SpeechStarted() if self._options.vad_events:
                await self._socket.send(SpeechStartedMessage(timestamp=seconds(event.at_s)))
            case UtteranceEnded():
                await self._socket.send(UtteranceEndMessage(last_word_end=seconds(event.last_word_s)))
            case _:
                pass

    async def _report_text(self, event: Interim | Final) -> None:
        self._hearer = event.manifest or self._hearer
        if isinstance(event, Final):
            self._heard_s = event.end_s
            self._whole = event.cut == "end"
            self._trace.hear(event)
            if event.failure is not None:
                await self._complain("RecognitionFailed", str(event.failure), "")
        elif not self._options.interim_results:
            return
        message = results(event, self._options, hearer=self._hearer, request_id=self._trace.request_id)
        await self._socket.send(message, nulls=False)

    async def _complain(
        self, variant: Literal["SchemaError", "RecognitionFailed"], description: str, message: str
    ) -> None:
        await self._socket.send(ErrorMessage(variant=variant, description=description, message=message))

    def _metadata(self) -> MetadataMessage:
        body = metadata_body(
            self._hearer,
            self._options,
            request_id=self._trace.request_id,
            sha256=self._received.hexdigest(),
            duration_s=self._heard_s,
            created=self._created,
            live=True,
        )
        return MetadataMessage.model_validate(body.model_dump())


def _control(text: str) -> ControlMessage:
    """What a text message says.

    Raises:
        OptionError: nothing that is understood, or too much.
    """
    if len(text) > MOST_CHARACTERS:
        raise OptionError(f"A text message has {MOST_CHARACTERS} characters at most. {_KNOWN}", param="message")
    try:
        return ControlMessage.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:MOST_NAMED] for part in first["loc"]) or "message"
        raise OptionError(f"{_KNOWN} What is wrong: {where}: {first['msg']}.", param=where) from error


def _subprotocol(websocket: WebSocket) -> str | None:
    """The one that a browser put before its key, which must have an answer."""
    offered: list[str] = websocket.scope["subprotocols"]
    return next((name for name in offered[:1] if name.lower() in auth.DEEPGRAM_SUBPROTOCOLS), None)
