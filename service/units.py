"""Sizes, durations and secrets as people write them, in; numbers and bytes out. And sizes as people read them."""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)", re.IGNORECASE)
"""Nothing in it can be read in two ways: a request with a hundred thousand spaces must not hold up the others."""

SIZES = {
    "": 1,
    "b": 1,
    # One letter, as containers are limited: powers of two.
    **{letter: 2 ** (10 * power) for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}i": 2 ** (10 * power) for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 2 ** (10 * power) for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}b": 10 ** (3 * power) for power, letter in enumerate("kmgt", start=1)},
}
LEAST_BYTES = 2**20
"""A size below is a number whose unit was forgotten."""

_NO_SIZE = "no size: write it like 300MB, 512MiB or 2g"
DURATIONS_MS = {"": 1.0, "ms": 1.0, "s": 1e3, "min": 6e4}
STAYS_S = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
FOR_EVER = "-1"


def parse_size(text: str) -> int:
    """Bytes: "300MB" is 300,000,000, "512MiB", "512Mi" and "512m" are 536,870,912.

    Raises:
        ValueError: it is no size, or less than any program has.
    """
    size = math.ceil(_parsed(text, SIZES, _NO_SIZE))
    if size < LEAST_BYTES:
        raise ValueError(f"{text!r} is {size} bytes: write it like 300MB, 512MiB or 2g")
    return size


def parse_duration_ms(text: str) -> float:
    """Milliseconds: of "300ms", "0.2s" or "300".

    Raises:
        ValueError: it is no duration above zero.
    """
    return _parsed(text, DURATIONS_MS, "no duration: write it like 300ms or 0.2s")


def parse_stay_s(text: str) -> float:
    """Seconds that something stays: of "30", "5m", "1.5h" or "0"; infinite of "-1".

    Raises:
        ValueError: it is none.
    """
    if text.strip() == FOR_EVER:
        return math.inf
    return _parsed(text, STAYS_S, "no time to stay: write it like 30 (seconds), 5m, 0, or -1 for ever", zero=True)


SIGNING_PREFIX = "whsec_"
SIGNING_BYTES = (24, 64)
"""The least and the most of a secret that signs, by Standard Webhooks."""


def parse_signing_secret(text: str) -> bytes:
    """The bytes of a secret as Standard Webhooks writes it: `whsec_` and Base64.

    Raises:
        ValueError: it is none; what it is is not told.
    """
    try:
        secret = base64.b64decode(text.removeprefix(SIGNING_PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not SIGNING_BYTES[0] <= len(secret) <= SIGNING_BYTES[1]:
        raise ValueError("no secret: write whsec_ and 24 to 64 bytes in Base64, as of openssl rand -base64 32")
    return secret


def _parsed(text: str, units: Mapping[str, float], complaint: str, *, zero: bool = False) -> float:
    found = _AMOUNT.fullmatch(text.strip())
    amount = float(found[1]) * units.get(found[2].lower(), math.nan) if found else math.nan
    if not (0 < amount < math.inf or (zero and amount == 0)):
        raise ValueError(f"{text[:80]!r} is {complaint}")
    return amount


def shown_size(amount: float, *, to: Callable[[float], int] = math.ceil) -> str:
    """Bytes in powers of ten; rounded up unless told otherwise, so that a need that is shown is enough."""
    if amount >= 1e10:
        return f"{to(amount / 1e8) / 10:g} GB"
    return f"{to(amount / 1e6)} MB"
