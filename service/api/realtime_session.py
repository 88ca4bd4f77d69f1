"""One Realtime session: what the client asks to the engine's stream, what happens on that to the client."""

import asyncio
import time

from service.api.draining import Draining
from service.api.errors import INVALID_REQUEST, ErrorDetail
from service.api.realtime_appended import MIN_COMMIT_S, Appended
from service.api.realtime_asked import Append, Asked, BadEvent, Clear, Commit, Update, parse, refused
from service.api.realtime_configuration import Configuration, meant
from service.api.realtime_items import Items
from service.api.realtime_told import (
    SessionCreated,
    SessionUpdated,
    TranscriptionSession,
    UpdatedType,
    error_event,
    failure_event,
    new_id,
    session_of,
)
from service.api.selection import select
from service.api.sockets import NORMAL, RESTARTING, Socket, converse
from service.api.trace import Trace
from service.engine.streaming import Final, Stream, StreamRequest
from service.engine.types import Engine
from service.errors import WrenError
from service.settings import Settings


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
        self._appended = Appended()
        self._expired = ""

    async def run(self, draining: Draining) -> None:
        """From the first event to the close.

        Raises:
            WrenError: the engine takes no stream, or fails on this one; or the client has used its seconds of audio.
            ClientLeft: while it was told so.
        """
        async with self._engine.listen(self._request(self._configuration)) as stream:
            await self._socket.send(SessionCreated(session=self._session()))
            await draining.unless_cut(converse(self._hear(stream, draining), self._tell(stream)))
        if not self._expired:  # to a client that left this is not said
            await self._socket.close(RESTARTING, "The server stops.")
            return
        detail = ErrorDetail(message=self._expired, type=INVALID_REQUEST, code="session_expired")
        await self._socket.send(error_event(detail))
        await self._socket.close(NORMAL, self._expired)

    async def _hear(self, stream: Stream, draining: Draining) -> None:
        expired = await draining.unless_begun(self._heed(stream))
        self._expired = expired or ""
        if expired != "":  # there is a client to tell of the tail
            await stream.finish()
            while await self._socket.receive() is not None:
                pass  # the tail is on its way out, and nothing is heard any more

    async def _heed(self, stream: Stream) -> str:
        """Do what the client says until it leaves, or has been here or silent for too long: why, if it must go."""
        while (left_s := self._ends_s - asyncio.get_running_loop().time()) > 0:
            try:
                message = await self._socket.receive(min(left_s, self._idle_s))
            except TimeoutError:
                if left_s > self._idle_s:
                    return f"No message came for {self._idle_s:g} s (WREN_STREAM_IDLE_S)."
                break
            if message is None:
                return ""
            try:
                await self._obey(stream, parse(message))
            except BadEvent as error:
                await self._socket.send(error_event(error.detail, error.event_id))
        return f"The session has lasted the {self._limit_s:g} s that it may (WREN_MAX_STREAM_S)."

    async def _obey(self, stream: Stream, event: Asked) -> None:
        match event:
            case Append():
                audio = await event.decoded()
                if audio:
                    self._appended.add(audio, self._configuration.input.format.raw())
                    await stream.feed(audio)
            case Commit():
                if not self._appended.enough:
                    few = f"There is nothing to commit: the last turn, commit or clear left less than {MIN_COMMIT_S} s."
                    raise refused(few, "input_audio_buffer_commit_empty", None, event.event_id)
                self._appended.take()
                await stream.commit()
            case Clear():
                self._appended.take()
                await stream.clear()
            case Update():
                await self._update(stream, event)

    async def _update(self, stream: Stream, event: Update) -> None:
        self._items.older = self._items.older or event.type == "transcription_session.update"
        wanted = self._configuration.merged(event.session)
        try:
            await stream.configure(self._request(wanted))
        except WrenError as error:
            await self._socket.send(failure_event(error, event.event_id))
        else:
            await self._adopt(wanted)

    async def _tell(self, stream: Stream) -> None:
        async for event in stream.events():
            if isinstance(event, Final):
                self._trace.hear(event)
                self._appended.heard(event)
            for told in self._items.told(event):
                await self._socket.send(told)
            if isinstance(event, Final) and event.cut != "end":
                self._trace.check_audio()

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
            OptionError: it is told too much.
        """
        selection = select(self._engine.models(), asked=meant(configuration.input.transcription.model))
        return configuration.request(selection, client=self._client)

    def _session(self) -> TranscriptionSession:
        return session_of(
            self._configuration, session_id=self._id, expires_at=self._expires_at, older=self._items.older
        )
