"""Who asks: the name under which the engine shares the machine between clients."""

import hashlib
from collections.abc import Sequence

from starlette.requests import HTTPConnection

from service.api.auth import key_of

FINGERPRINT_DIGITS = 16


def client_name(*, key: str | None, host: str | None) -> str:
    """The fingerprint of the API key that let the client in, or its address where there are no keys.

    The key itself must not get into queues, logs or metrics.
    """
    if key is not None:
        return hashlib.sha256(key.encode()).hexdigest()[:FINGERPRINT_DIGITS]
    return host or ""


def client_of(connection: HTTPConnection, *, keys: Sequence[str]) -> str:
    """The name of who sent a request or opened a WebSocket, to a server with these keys."""
    # Without keys, what a client sends as one is its own invention: it could have a share a request.
    key = key_of(connection) if keys else None
    return client_name(key=key, host=connection.client.host if connection.client else None)
