"""Bytes of a live stream in, samples of 16 kHz out as soon as they can be told: the twin of `decode` for streams.

The same readers and the same resampler as for files; only the bytes come from a `Pipe`. All of a stream's samples are
the same to the bit, however its bytes were split; the marks among them are obeyed in the midst of decoding.

How far behind its bytes the sound comes, in ms, resampling (8 kHz 115, 24 kHz and more 40) included: headerless and wav
0 to 115; webm and ogg opus 140, and the ogg page; aac 55; mp4 in fragments 90; mp3 at 128 kbit/s 145, at 32 kbit/s 335.
Late are flac, by ten of its frames (2.4 s at 16 kHz), and a wav of 8 or 24 bits, by its first 64 KiB: FFmpeg looks that
far ahead. An mp4 with its index at the end cannot be streamed.
"""

from collections.abc import Callable, Iterator

import numpy as np

from service.audio.headerless import frame_bytes, read_headerless
from service.audio.pipe import Pipe
from service.audio.resample import Block, Resampler
from service.audio.sniff import LIVE_HEAD_BYTES, UNKNOWN, sniff_head
from service.audio.types import RawFormat, Samples
from service.audio.wav import WavData, WavHeader, read_wav_header
from service.errors import UndecodableAudio

_READ_BYTES = 2**14
"""At once: a stream that is sent faster than it plays is decoded in steps of half a second of 16-bit samples."""

_LEAST_PER_S = 100
"""Headerless samples are taken by 10 ms or more: a client may send each in a message of its own."""

_MAX_SOUNDLESS_BYTES = 4 * 2**20
"""Between two frames, pictures among them. FFmpeg collects a packet until it is whole, whatever size it claims."""

_HOW_TO_SAY = "if it has no header, its encoding and sample rate have to be said"

_MAX_TRAILER_BYTES = 2**16
"""What may follow where the sound has ended, as a file sent as a stream has it: tags, indexes, padding."""


def decode_live(pipe: Pipe, raw: RawFormat | None, on_samples: Callable[[Samples], None]) -> None:
    """Decode until the pipe ends; headerless audio where `raw` says how it is laid out, else what its head tells.

    Blocks: it is the work of a thread. `on_samples` is called in it with float32 samples within [-1, 1], any number at
    a time. Before a mark is run, all that can be told of the bytes before it has been handed out.

    Raises:
        Abandoned: the pipe was abandoned, or a mark or `on_samples` raised it; what these raise comes out as it is.
        EmptyAudio: a container without a sample, or nothing at all where one was to come.
        UndecodableAudio: no container that is known, an unknown codec, damage before the first sample, or sound
            that ends before the stream does.
        NoAudioStream: a film without sound.
    """
    resampler = Resampler()
    source = _PipeSource(pipe, before_mark=lambda: _hand_out(resampler.flush(), on_samples))
    try:
        for block in _blocks(source, raw):
            _hand_out(resampler.push(block), on_samples)
            source.note_sound(block)
        source.pass_trailer()
    finally:
        source.check()  # what went wrong in reading, before what that led to
    _hand_out(resampler.flush(), on_samples)


def _hand_out(samples: Samples, on_samples: Callable[[Samples], None]) -> None:
    if len(samples):
        on_samples(np.clip(samples, -1.0, 1.0))


def _blocks(source: "_PipeSource", raw: RawFormat | None) -> Iterator[Block]:
    if raw is not None:
        source.least = _least_bytes(raw)
        return read_headerless(source, raw)
    kind = sniff_head(source.peek(LIVE_HEAD_BYTES)[:LIVE_HEAD_BYTES])
    if kind is UNKNOWN:  # FFmpeg would probe megabytes of it
        raise UndecodableAudio(container=kind.name, codec="unknown", reason=_HOW_TO_SAY)
    if kind.name == "wav" and (header := read_wav_header(source)) is not None:
        return _wav_blocks(source, header)
    from service.audio.media import read_media  # noqa: PLC0415 - FFmpeg's libraries take 15 MiB; see `decode`

    return read_media(source, kind, checkpoint=source.check, live=True)


def _wav_blocks(source: "_PipeSource", header: WavHeader | None) -> Iterator[Block]:
    """Of one wav after the other: there are clients that put a header before each message."""
    while header is not None:
        source.least = _least_bytes(header.raw)
        yield from read_headerless(WavData(source, header), header.raw, container="wav")
        header = read_wav_header(source)


def _least_bytes(raw: RawFormat) -> int:
    return max(1, raw.sample_rate // _LEAST_PER_S) * frame_bytes(raw)


class _PipeSource:
    """A pipe as the source that decoders read: runs its marks on the way, and can look ahead.

    FFmpeg calls it from within, so nothing is raised there: what goes wrong is the end for the decoder, and `check`
    raises it.

    Attributes:
        least: bytes worth waking up for.
    """

    def __init__(self, pipe: Pipe, *, before_mark: Callable[[], None]) -> None:
        self._pipe, self._before_mark = pipe, before_mark
        self._head = b""
        self._ended = False
        self._failure: Exception | None = None
        self._soundless_bytes = 0
        self._container, self._codec = "unknown", "unknown"
        self.least = 1

    def read(self, most: int, /) -> bytes:
        if self._head:
            data, self._head = self._head[:most], self._head[most:]
            return data
        return self._pull(most)

    def peek(self, size: int) -> bytes:
        """What is next: `size` bytes or more, and fewer only before the end."""
        while len(self._head) < size and (data := self._pull(_READ_BYTES)):
            self._head += data
        return self._head

    def note_sound(self, block: Block) -> None:
        self._soundless_bytes = 0
        self._container, self._codec = block.container, block.codec

    def check(self) -> None:
        """Raise what went wrong."""
        if self._failure is not None:
            raise self._failure

    def pass_trailer(self) -> None:
        """Read to the end, once the decoder is done.

        Raises:
            UndecodableAudio: it is too long for a trailer.
        """
        passed = 0
        while data := self.read(_READ_BYTES):
            passed += len(data)
            if passed > _MAX_TRAILER_BYTES:
                raise self._undecodable("its sound has ended, or broken off, and the stream goes on")

    def _pull(self, most: int) -> bytes:
        if self._ended:
            return b""
        try:
            data = self._pull_past_marks(min(most, _READ_BYTES))
        except Exception as failure:  # raised by `check`, outside FFmpeg
            self._failure, data = failure, b""
        self._ended = not data
        return data

    def _pull_past_marks(self, most: int) -> bytes:
        while not isinstance(taken := self._pipe.take(most, least=min(self.least, most)), bytes):
            self._before_mark()
            taken()
        self._soundless_bytes += len(taken)
        if self._soundless_bytes > _MAX_SOUNDLESS_BYTES:
            raise self._undecodable(f"no sound in {_MAX_SOUNDLESS_BYTES / 2**20:g} MiB")
        return taken

    def _undecodable(self, reason: str) -> UndecodableAudio:
        return UndecodableAudio(container=self._container, codec=self._codec, reason=reason)
