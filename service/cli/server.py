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
