"""Who asks: the name under which the engine shares the machine between clients."""

import hashlib

FINGERPRINT_DIGITS = 16


def client_name(*, key: str | None, host: str | None) -> str:
    """The fingerprint of the API key that let the client in, or its address where there are no keys.

    The key itself must not get into queues, logs or metrics.
    """
    if key is not None:
        return hashlib.sha256(key.encode()).hexdigest()[:FINGERPRINT_DIGITS]
    return host or ""
