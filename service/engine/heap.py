"""Freed memory back to the system: glibc keeps what a long recording took, up to hundreds of MiB, for a next one."""

import ctypes
import sys
from collections.abc import Callable

_M_ARENA_MAX = -8
"""glibc's name for it (malloc.h)."""

_ARENAS = 1
"""What is free at the end of another one, `malloc_trim` does not give back: up to 45 MB of what a variant took, more or
less from one time to the next. With one a thread 16 clients' load took 60 MiB more, and was no faster."""


def _trimmer() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # another C library than glibc, such as musl, which keeps nothing
        return None
    return trim


def few_arenas() -> None:
    """Let threads share one heap, where each would keep free memory of its own; call it before there are threads."""
    if sys.platform.startswith("linux"):
        limit = getattr(ctypes.CDLL(None), "mallopt", None)
        if limit is not None:
            limit(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return the free pages of the heap; a few milliseconds, and nothing where the C library cannot."""
    trim = _trimmer()
    if trim is not None:
        trim(0)
