"""Samples without a header in, as telephony and microphones send them; blocks of mono samples out."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from service.audio.g711 import from_alaw, from_mulaw
from service.audio.resample import BLOCK_VALUES, MAX_RATE, MIN_RATE, Block, downmix, sanitised
from service.audio.types import RawEncoding, RawFormat, Source
from service.errors import UndecodableAudio

_SAMPLE_BYTES: dict[RawEncoding, int] = {"linear16": 2, "linear32": 4, "float32": 4, "mulaw": 1, "alaw": 1}
_MAX_CHANNELS = 64
_HEADERLESS = "headerless"


def frame_bytes(raw: RawFormat) -> int:
    """Of one sample of each channel."""
    return _SAMPLE_BYTES[raw.encoding] * raw.channels


def read_headerless(source: Source, raw: RawFormat, *, container: str = _HEADERLESS) -> Iterator[Block]:
    """A block for each read, of the frames that are whole by then. Half a frame at the end is dropped.

    Raises:
        UndecodableAudio: a rate or a number of channels that nothing has.
    """
    _check(raw, container)
    size = frame_bytes(raw)
    block_bytes = BLOCK_VALUES // raw.channels * size
    rest = b""
    while data := source.read(block_bytes - len(rest)):
        data = rest + data
        whole = len(data) // size * size
        rest = data[whole:]
        if whole:
            channels = _values(memoryview(data)[:whole], raw.encoding).reshape(-1, raw.channels).T
            yield Block(downmix(channels), raw.sample_rate, raw.channels, container, raw.encoding)


def _check(raw: RawFormat, container: str) -> None:
    if not MIN_RATE <= raw.sample_rate <= MAX_RATE:
        reason = f"a sample rate of {raw.sample_rate} Hz (possible: {MIN_RATE} to {MAX_RATE} Hz)"
    elif not 1 <= raw.channels <= _MAX_CHANNELS:
        reason = f"{raw.channels} channels (possible: 1 to {_MAX_CHANNELS})"
    else:
        return
    raise UndecodableAudio(container=container, codec=raw.encoding, reason=reason)


def _values(data: memoryview, encoding: RawEncoding) -> npt.NDArray[np.float32]:
    match encoding:
        case "linear16":
            return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
        case "linear32":
            return np.frombuffer(data, "<i4").astype(np.float32) / np.float32(2**31)
        case "float32":
            return sanitised(np.frombuffer(data, "<f4").astype(np.float32))
        case "mulaw":
            return from_mulaw(np.frombuffer(data, np.uint8))
        case "alaw":
            return from_alaw(np.frombuffer(data, np.uint8))
