"""Uvicorn's server with two more steps: it loads the model before anyone is let in, and says when it is ready."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from service.api.draining import Draining
from service.cli.connections import Config, HurriedProtocol
from service.engine.types import Engine
from service.settings import Settings

FAREWELL_SHARE, MOST_FAREWELL_S = 0.2, 2.0
"""Of the time to finish, the end in which live streams that are not done are closed as they are."""

LOOK_S = 0.05
"""How often it is seen whether they have ended."""

OPEN_FILES = 2**16
"""A client is a connection, and a temporary file if memory is short: the usual limit of 1,024 is 500 clients."""

MAX_MESSAGE_BYTES = 32 * 2**20
"""Of a WebSocket, beyond which it is closed with 1009. OpenAI's clients may send 15 MiB of audio at once, which is 20
MiB of base64: what is a little more than that is told so instead."""

PING_EVERY_S = 20.0
"""Keeps idle WebSockets open in the proxies and address translators on the way, which forget them after a minute.

No pong is waited for: while a client pushes a file faster than it is recognised, reading from it is paused, and its
pongs lie behind minutes of audio; it would be dropped as dead for being busy. Who is gone is told by TCP, by the time
that a session may be silent, and by the time that a client may take nothing of what it is sent."""


class Server(uvicorn.Server):
    """Serves `app`, whose lifespan may start the engine once more: a started one has nothing to do."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        engine: Engine,
        ready: Callable[[], None],
        draining: Draining,
        settings: Settings,
    ) -> None:
        config = Config(
            app,
            http=HurriedProtocol,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_ping_interval=PING_EVERY_S,
            ws_ping_timeout=None,
            # Audio does not get smaller; trying to costs time a message and memory a connection.
            ws_per_message_deflate=False,
        )
        config.header_s = settings.header_s
        super().__init__(config)
        self._engine, self._ready = engine, ready
        self._draining, self._drain_s, self._grace_s = draining, settings.drain_s, settings.grace_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load, listen, and say so.

        Raises:
            WrenError: the model cannot be loaded.
        """
        await self._engine.start()
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Be seen to stop, let nobody in any more, end the streams with their last texts, then let requests end."""
        self._draining.begin()
        await self._until(time.monotonic() + self._drain_s, lambda: False)
        for server in self.servers:
            server.close()
        end_s = time.monotonic() + self._grace_s
        farewell_s = min(MOST_FAREWELL_S, FAREWELL_SHARE * self._grace_s)
        await self._until(end_s - farewell_s, self._are_over)
        self._draining.cut()
        await self._until(end_s - farewell_s / 2, self._are_over)
        # Asyncio takes fractions, whatever uvicorn says of it.
        self.config.timeout_graceful_shutdown = max(0.0, end_s - time.monotonic())  # type: ignore[assignment]
        await super().shutdown(sockets)

    def _are_over(self) -> bool:
        return not self._draining.sessions

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # A second signal ends it at once, whichever it is: uvicorn itself heeds only SIGINT for that.
        self.force_exit = self.force_exit or self.should_exit
        super().handle_exit(sig, frame)

    async def _until(self, end_s: float, done: Callable[[], bool]) -> None:
        """Wait for it, up to a time, or until somebody insists that the server ends now."""
        while not done() and not self.force_exit and time.monotonic() < end_s:  # noqa: ASYNC110 - uvicorn has a flag
            await asyncio.sleep(LOOK_S)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        # Uvicorn raises the signal again once it has shut down in good order: then there is nothing left to end.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        super().run(sockets)


def allow_open_files(wanted: int = OPEN_FILES) -> None:
    """Let this process open so many files and connections, as far as the system lets it."""
    if sys.platform == "win32":
        return
    import resource

    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    if now != resource.RLIM_INFINITY and now < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
