"""Two folders change places in one step: whoever reads meanwhile finds the one or the other, never neither."""

import ctypes
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(one: Path, other: Path) -> bool:
    """Let two paths of one file system change places: renameat2(2) with RENAME_EXCHANGE.

    Returns:
        Whether it was done; not every system and file system can, and then both are as they were.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # a C library without it, or not one that can be asked
        return False
    done: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0
