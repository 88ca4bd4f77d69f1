"""One Realtime session: what the client asks to the engine's stream, what happens on that to the client."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from service.api.errors import INVALID_REQUEST, ErrorDetail
from service.api.realtime_asked import Append, Asked, BadEvent, Clear, Commit, Update, parse, refused
from service.api.realtime_configuration import Configuration, meant
from service.api.realtime_items import Items
from service.api.realtime_told import (
    Session,
    SessionCreated,
    SessionUpdated,
    UpdatedType,
    error_event,
    failure_event,
    new_id,
    session_of,
)
from service.api.selection import select
from service.api.sockets import NORMAL, Socket, converse
from service.api.tracing import Trace
from service.engine.streaming import Final, Stream, StreamRequest
from service.engine.types import Engine
from service.errors import WrenError
from service.settings import Settings

MODEL_FIELD = "session.audio.input.transcription.model"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A configuration with another model, for which the engine must be asked anew."""

    configuration: Configuration
    event_id: str | None


class RealtimeSession:
    """A client that was let in."""

    def __init__(
        self,
        socket: Socket,
        engine: Engine,
        settings: Settings,
        *,
        trace: Trace,
        client: str,
        configuration: Configuration,
        older: bool,
    ) -> None:
        self._socket, self._engine, self._trace, self._client = socket, engine, trace, client
        self._configuration = configuration
        self._items = Items(older=older)
        self._id = new_id("sess")
        self._idle_s, self._limit_s = settings.stream_idle_s, settings.max_stream_s
        self._ends_s = asyncio.get_running_loop().time() + self._limit_s
        self._expires_at = int(time.time() + self._limit_s)
        self._greeted = self._fed = self._uncommitted = False
        self._wanted: _Wanted | None = None
        self._expired = ""

    async def run(self) -> None:
        """From the first event to the close.

        Raises:
            WrenError: the engine takes no stream, or fails on this one.
            ClientLeft: while it was told so.
        """
        over = False
        while not over:
            async with AsyncExitStack() as stack:
                stream = await self._listen(stack)
                await converse(self._hear(stream), self._tell(stream))
            over = self._wanted is None
        if self._expired:
            detail = ErrorDetail(message=self._expired, type=INVALID_REQUEST, code="session_expired")
            await self._socket.send(error_event(detail))
        await self._socket.close(NORMAL, self._expired)

    async def _listen(self, stack: AsyncExitStack) -> Stream:
        """A stream as it is wanted; if there is none, as it was."""
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            try:
                stream = await stack.enter_async_context(self._engine.listen(self._request(wanted.configuration)))
            except WrenError as error:
                await self._socket.send(failure_event(error, wanted.event_id))
            else:
                await self._adopt(wanted.configuration)
                return stream
        stream = await stack.enter_async_context(self._engine.listen(self._request(self._configuration)))
        if not self._greeted:
            self._greeted = True
            await self._socket.send(SessionCreated(session=self._session()))
        return stream

    async def _hear(self, stream: Stream) -> None:
        """Do what the client says until it leaves, wants another model or has been here for too long."""
        while self._wanted is None:
            try:
                message = await self._next()
            except TimeoutError:
                await stream.finish()
                while await self._socket.receive() is not None:
                    pass  # the tail is on its way out, and nothing is heard any more
                return
            if message is None:
                return
            try:
                await self._obey(stream, parse(message))
            except BadEvent as error:
                await self._socket.send(error_event(error.detail, error.event_id))

    async def _next(self) -> str | bytes | None:
        """What the client says next.

        Raises:
            TimeoutError: it says nothing any more, or its time is over.
        """
        left_s = self._ends_s - asyncio.get_running_loop().time()
        self._expired = f"No message came for {self._idle_s:g} s (WREN_STREAM_IDLE_S)."
        if left_s <= self._idle_s:
            self._expired = f"The session has lasted the {self._limit_s:g} s that it may (WREN_MAX_STREAM_S)."
        if left_s <= 0:
            raise TimeoutError
        message = await self._socket.receive(min(left_s, self._idle_s))
        self._expired = ""
        return message

    async def _obey(self, stream: Stream, event: Asked) -> None:
        match event:
            case Append():
                audio = event.decoded()
                if audio:
                    self._fed = self._uncommitted = True
                    await stream.feed(audio)
            case Commit():
                if not self._uncommitted:
                    empty = "There is nothing to commit: no audio was appended since the last commit or clear."
                    raise refused(empty, "input_audio_buffer_commit_empty", None, event.event_id)
                self._uncommitted = False
                await stream.commit()
            case Clear():
                self._uncommitted = False
                await stream.clear()
            case Update():
                await self._update(stream, event)

    async def _update(self, stream: Stream, event: Update) -> None:
        self._items.older = self._items.older or event.type == "transcription_session.update"
        wanted = self._configuration.merged(event.session)
        try:
            request, now = self._request(wanted), self._request(self._configuration)
            if (request.model, request.precision) == (now.model, now.precision):
                stream.configure(request)
                await self._adopt(wanted)
                return
        except WrenError as error:
            await self._socket.send(failure_event(error, event.event_id))
            return
        if self._fed:
            late = "The model cannot change once audio was sent. Open another session for it."
            raise refused(late, "invalid_value", MODEL_FIELD, event.event_id)
        self._wanted = _Wanted(wanted, event.event_id)

    async def _tell(self, stream: Stream) -> None:
        async for event in stream.events():
            if isinstance(event, Final):
                self._trace.hear(event)
            for told in self._items.told(event):
                await self._socket.send(told)

    async def _adopt(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._items.detected = configuration.input.turn_detection is not None
        self._items.logprobs = configuration.logprobs
        kind: UpdatedType = "transcription_session.updated" if self._items.older else "session.updated"
        await self._socket.send(SessionUpdated(type=kind, session=self._session()))

    def _request(self, configuration: Configuration) -> StreamRequest:
        """What the engine is asked.

        Raises:
            ModelNotFound: there is no such model.
        """
        selection = select(self._engine.models(), asked=meant(configuration.input.transcription.model))
        return configuration.request(selection, client=self._client)

    def _session(self) -> Session:
        return session_of(
            self._configuration, session_id=self._id, expires_at=self._expires_at, older=self._items.older
        )
