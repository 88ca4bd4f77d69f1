"""An error in; whether it says that memory ran out. No runtime is imported for it, so names and words have to do."""

import errno
import re
from collections.abc import Iterator

CLASSES = frozenset({"OutOfMemoryError"})
"""torch's; Python's own is `MemoryError`, of which numpy's is one."""

WORDS = re.compile(
    r"bad[ _]alloc(ation)?\b|can't alloc\b"  # onnxruntime's kernels and sessions; OpenVINO's compiler
    r"|failed to allocate memory|BFCArena"  # onnxruntime's arenas
    r"|DefaultCPUAllocator: (can't allocate|not enough) memory"  # torch on a CPU
    r"|\bout of memory\b|_ALLOC_FAILED\b",  # CUDA, its libraries, and the drivers of other devices
    re.IGNORECASE,
)


def ran_out(error: BaseException) -> bool:
    """Whether it, or what it was raised from, was a want of memory, of whichever device."""
    return any(_says_so(one) for one in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _says_so(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    named = any(one.__name__ in CLASSES for one in type(error).__mro__)
    return named or (isinstance(error, Exception) and WORDS.search(str(error)) is not None)
