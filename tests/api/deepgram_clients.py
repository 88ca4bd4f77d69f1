"""One way to use the deepgram SDK, whichever its version; what is received are the objects that the SDK made of it.

Runs in the environment of the SDK, as `checking` does.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from importlib.metadata import version
from typing import Any

VERSION = int(version("deepgram-sdk").split(".")[0])


class Live(ABC):
    """A stream: audio and control messages in, messages out."""

    @abstractmethod
    async def send(self, audio: bytes) -> None: ...

    @abstractmethod
    async def control(self, kind: str) -> None:
        """Say "KeepAlive", "Finalize" or "CloseStream"."""
        ...

    @abstractmethod
    async def receive(self) -> Any | None:
        """The next message; None once the server has closed the connection in an orderly way."""
        ...

    async def until(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """All up to the one that is wanted."""
        messages: list[Any] = []
        while not (messages and wanted(messages[-1])):
            message = await self.receive()
            assert message is not None, messages
            messages.append(message)
        return messages

    async def rest(self) -> list[Any]:
        """All until the server closes the connection."""
        messages: list[Any] = []
        while (message := await self.receive()) is not None:
            messages.append(message)
        return messages


class Client(ABC):
    @abstractmethod
    def live(self, **options: Any) -> AbstractAsyncContextManager[Live]: ...

    @abstractmethod
    async def file(self, audio: bytes, **options: Any) -> Any:
        """What POST /v1/listen answers."""
        ...

    @abstractmethod
    async def live_refusal(self, **options: Any) -> int | None:
        """The status of the handshake where a stream is refused."""
        ...

    @abstractmethod
    async def file_refusal(self, audio: bytes, **options: Any) -> tuple[int, str] | None:
        """Status and `err_code` where a file is refused."""
        ...


def client_of(url: str, key: str) -> Client:
    """With the SDK of this environment: 3 has handlers of events, 5 and 7 connections to read from."""
    module = import_module("tests.api.deepgram_3" if VERSION == 3 else "tests.api.deepgram_5")
    client: Client = module.SdkClient(url, key)
    return client
