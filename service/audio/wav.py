"""The first bytes of a wav that is streamed in, the layout of its samples out; its data read as they come.

FFmpeg waits for 64 KiB of them, in search of a compressed signal, and libsndfile wants to seek. The length in the
header is not believed at once: who streams does not know it and writes 0, the most, or that of a first part.
"""

import struct
from dataclasses import dataclass
from typing import Protocol

from service.audio.types import RawEncoding, RawFormat, Source

_MAX_HEADER_BYTES = 2**16
_EXTENSIBLE = 0xFFFE
_ENCODINGS: dict[tuple[int, int], RawEncoding] = {
    (1, 16): "linear16",
    (1, 32): "linear32",
    (3, 32): "float32",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
"""By format tag and bits."""


class Lookahead(Source, Protocol):
    """A source that tells what comes before it is read."""

    def peek(self, size: int) -> bytes:
        """At least `size` bytes of what comes, fewer only before the end."""
        ...


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What a wav says before its samples; `data_bytes` is 0 where it says nothing."""

    raw: RawFormat
    data_bytes: int


def read_wav_header(source: Lookahead) -> WavHeader | None:
    """Read up to the first sample. None, and nothing read, where it is cut, too long, or of another encoding."""
    if source.peek(12)[8:12] != b"WAVE":
        return None
    raw: RawFormat | None = None
    start = 12
    while start < _MAX_HEADER_BYTES:
        head = source.peek(start + 8)
        if len(head) < start + 8:
            return None
        name, size = struct.unpack_from("<4sI", head, start)
        start += 8
        if name == b"data":
            if raw is not None:
                _skip(source, start)
                return WavHeader(raw, 0 if size == 0xFFFFFFFF else size)
            return None
        if name == b"fmt ":
            raw = _layout(source.peek(start + min(size, 40))[start : start + size])
        start += size + size % 2
    return None


def _skip(source: Source, size: int) -> None:
    while size:
        size -= len(source.read(size))


def _layout(fields: bytes) -> RawFormat | None:
    if len(fields) < 16:
        return None
    tag, channels, rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", fields)
    if tag == _EXTENSIBLE and len(fields) >= 26:
        tag = int.from_bytes(fields[24:26], "little")  # the subformat begins with the tag it stands for
    encoding = _ENCODINGS.get((tag, bits))
    if encoding is None or frame_bytes * 8 != channels * bits:
        return None
    return RawFormat(encoding, rate, channels)


class WavData:
    """The samples: past the length that the header tells, unless another chunk begins there."""

    def __init__(self, source: Lookahead, header: WavHeader) -> None:
        self._source, self._left = source, header.data_bytes
        self._told = header.data_bytes > 0
        self._odd = header.data_bytes % 2

    def read(self, most: int, /) -> bytes:
        if not self._told:
            return self._source.read(most)
        if not self._left:
            name = self._source.peek(4 + self._odd)[self._odd :][:4]
            if len(name) < 4 or (name.isascii() and name.decode().isprintable()):
                return b""
            self._told = False
            return self._source.read(most)
        data = self._source.read(min(most, self._left))
        self._left -= len(data)
        return data
