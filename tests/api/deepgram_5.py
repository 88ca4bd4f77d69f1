"""The deepgram SDK from version 5 on, whose connections are read from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from deepgram import AsyncDeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment

from tests.api.deepgram_clients import VERSION, Client, Live

if VERSION == 5:
    from deepgram.extensions.types.sockets import ListenV1ControlMessage


class SdkLive(Live):
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._messages = aiter(connection)

    async def send(self, audio: bytes) -> None:
        await self._connection.send_media(audio)

    async def control(self, kind: str) -> None:
        if VERSION == 5:
            await self._connection.send_control(ListenV1ControlMessage(type=kind))
        else:
            ways = {"KeepAlive": "send_keep_alive", "Finalize": "send_finalize", "CloseStream": "send_close_stream"}
            await getattr(self._connection, ways[kind])()

    async def receive(self) -> Any | None:
        message = await anext(self._messages, None)
        assert message is None or type(message).__name__.startswith("ListenV1"), message
        return message


class SdkClient(Client):
    def __init__(self, url: str, key: str) -> None:
        live = url.replace("http", "ws", 1)
        hosts = {"base": url, "production": live, "agent": live, **({"agent_rest": url} if VERSION > 5 else {})}
        self._listen = AsyncDeepgramClient(api_key=key, environment=DeepgramClientEnvironment(**hosts)).listen.v1

    @asynccontextmanager
    async def live(self, **options: Any) -> AsyncIterator[Live]:
        """Version 5 has strings as options; 7 takes what it is given, and writes "True" into the query."""
        given = {name: str(value).lower() if VERSION == 5 else value for name, value in options.items()}
        async with self._listen.connect(**given) as connection:
            yield SdkLive(connection)

    async def file(self, audio: bytes, **options: Any) -> Any:
        return await self._listen.media.transcribe_file(request=audio, **options)

    async def live_refusal(self, **options: Any) -> int | None:
        try:
            async with self.live(**options):
                return None
        except ApiError as error:
            status: int | None = error.status_code
            return status

    async def file_refusal(self, audio: bytes, **options: Any) -> tuple[int, str] | None:
        try:
            # What is refused for a while would be tried again by 7 when that is over.
            await self.file(audio, **options, request_options={"max_retries": 0})
        except ApiError as error:
            body: Any = error.body
            return error.status_code or 0, body["err_code"]
        return None
