"""Uvicorn's server with two more steps: it loads the model before anyone is let in, and says when it is ready."""

import signal
import socket
import sys
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from service.engine.types import Engine

GRACE_S = 25
"""How long requests may finish after a signal to stop."""

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

    def __init__(self, app: ASGIApp, *, engine: Engine, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_ping_interval=PING_EVERY_S,
                ws_ping_timeout=None,
                # Audio does not get smaller; trying to costs time a message and memory a connection.
                ws_per_message_deflate=False,
            )
        )
        self._engine, self._ready = engine, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load, listen, and say so.

        Raises:
            WrenError: the model cannot be loaded.
        """
        await self._engine.start()
        await super().startup(sockets)
        self._ready()

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
