"""Freed memory back to the system: glibc keeps what a long recording took, up to hundreds of MiB, for a next one."""

import ctypes
import sys
from collections.abc import Callable


def _trimmer() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # another C library than glibc, such as musl, which keeps nothing
        return None
    return trim


def give_back() -> None:
    """Return the free pages of the heap; a few milliseconds, and nothing where the C library cannot."""
    trim = _trimmer()
    if trim is not None:
        trim(0)
