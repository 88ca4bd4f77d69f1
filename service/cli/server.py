"""Uvicorn's server with two more steps: it loads the model before anyone is let in, and says when it is ready."""

import signal
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from service.engine.types import Engine

GRACE_S = 30
"""How long requests may finish after a signal to stop."""


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
