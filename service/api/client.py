"""Who asks: the name under which the engine shares the machine between clients."""

import hashlib

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


def client_of(connection: HTTPConnection, *, guarded: bool) -> str:
    """The name of who sent a request or opened a WebSocket.

    Args:
        connection: the one that came.
        guarded: whether keys are asked for. Where they are not, what a client sends as one is its own invention: it
            could have a share of the machine a request.
    """
    host = connection.client.host if connection.client else None
    return client_name(key=key_of(connection) if guarded else None, host=host)
