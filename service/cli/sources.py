"""A recording or standard input in, chunks of audio as a live stream has them out."""

import asyncio
import math
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from service.audio.decode import decode
from service.audio.resample import Limits
from service.audio.types import SAMPLE_RATE, RawFormat, Samples

PLAIN = RawFormat("linear16", SAMPLE_RATE)
"""How a recording is sent: it was decoded here, for not every file can be decoded from its beginning on."""

CHUNK = SAMPLE_RATE // 10
"""A tenth of a second, in samples."""

READ_BYTES = 2**14


def recorded(path: Path, raw: RawFormat | None, *, fast: bool) -> AsyncIterator[bytes]:
    """A file in the layout of `PLAIN`, as it is played; with `fast` as quickly as it is taken.

    Raises:
        AudioError: it cannot be decoded.
        OSError: it cannot be read.
    """
    return _played(decode(path, raw=raw, limits=Limits(math.inf)).samples, fast=fast)


async def _played(samples: Samples, *, fast: bool) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    began_s = clock()
    for start in range(0, len(samples), CHUNK):
        chunk = samples[start : start + CHUNK]
        if not fast:
            await asyncio.sleep(began_s + (start + len(chunk)) / SAMPLE_RATE - clock())
        yield np.round(chunk * 32767.0).astype("<i2").tobytes()


async def piped() -> AsyncIterator[bytes]:
    """Standard input as it comes, to its end."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):  # only these can be waited for
        while data := await asyncio.to_thread(os.read, sys.stdin.fileno(), READ_BYTES):
            yield data
        return
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    try:
        while data := await reader.read(READ_BYTES):
            yield data
    finally:
        transport.close()
