"""The deepgram SDK of version 3, that hands what it receives to handlers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from deepgram import (
    DeepgramClient,
    DeepgramClientOptions,
    ErrorResponse,
    LiveOptions,
    LiveTranscriptionEvents,
    PrerecordedOptions,
    UnhandledResponse,
)
from deepgram.clients.common import DeepgramApiError
from websockets.exceptions import InvalidStatus

from tests.api.deepgram_clients import Client, Live

HEARD = ("Transcript", "Metadata", "SpeechStarted", "UtteranceEnd", "Error", "Unhandled")


class SdkLive(Live):
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        for name in HEARD:
            connection.on(LiveTranscriptionEvents[name], self._take)
        connection.on(LiveTranscriptionEvents.Close, self._closed)

    async def send(self, audio: bytes) -> None:
        assert await self._connection.send(audio)

    async def control(self, kind: str) -> None:
        """`finish` would not do to close: it waits half a second for what is to come."""
        ways = {"KeepAlive": self._connection.keep_alive, "Finalize": self._connection.finalize}
        close = json.dumps({"type": "CloseStream"})
        assert await (ways[kind]() if kind in ways else self._connection.send(close))

    async def receive(self) -> Any | None:
        message = await self._messages.get()
        assert not isinstance(message, ErrorResponse | UnhandledResponse), message
        return message

    async def _take(self, _: Any, **message: Any) -> None:
        self._messages.put_nowait(next(iter(message.values())))

    async def _closed(self, _: Any, **message: Any) -> None:
        del message
        self._messages.put_nowait(None)


class SdkClient(Client):
    def __init__(self, url: str, key: str) -> None:
        raising = {"termination_exception_connect": True}
        self._listen = DeepgramClient(key, DeepgramClientOptions(url=url, options=raising)).listen

    @asynccontextmanager
    async def live(self, **options: Any) -> AsyncIterator[Live]:
        connection = self._listen.asyncwebsocket.v("1")
        live = SdkLive(connection)
        assert await connection.start(LiveOptions(**options))
        try:
            yield live
        finally:
            await connection.finish()

    async def file(self, audio: bytes, **options: Any) -> Any:
        source = {"buffer": audio}
        return await self._listen.asyncrest.v("1").transcribe_file(source, PrerecordedOptions(**options))

    async def live_refusal(self, **options: Any) -> int | None:
        try:
            async with self.live(**options):
                return None
        except InvalidStatus as error:
            return error.response.status_code

    async def file_refusal(self, audio: bytes, **options: Any) -> tuple[int, str] | None:
        try:
            await self.file(audio, **options)
        except DeepgramApiError as error:
            return int(error.status), json.loads(error.original_error)["err_code"]
        return None
