"""Blocks of samples at any rate in, samples of 16 kHz out: as they come, or as one waveform.

Block by block, so the full-rate signal of a long recording is never held whole, and a long waveform lies in a file
that is mapped: its pages are the system's to take back where memory is short. The limits are enforced here on what was
decoded, whatever the header said.
"""

import mmap
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt
import soxr

from service.audio.checkpoint import Checkpoint, always_on
from service.audio.types import SAMPLE_RATE, Samples
from service.errors import AudioTooLong, UndecodableAudio

BLOCK_VALUES = 2**16
"""Samples of all channels in a block: soxr is quickest with 16,000 to 65,000 at a time."""

MIN_RATE, MAX_RATE = 1_000, 768_000
"""Hz. Below there is no speech left; above, no converter exists and the header is damaged."""

_FLOAT32_BYTES = 4

LONG = 2**20
"""Samples from which on a waveform is collected in a file, 4 MiB or 65 s. Three recordings of ten minutes beside clips
had a container of 512 MiB killed while they were in memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one recording may unpack to.

    Attributes:
        max_decoded_bytes: of all channels at the source rate, as float32: it bounds the time that a small file of many
            channels at a high rate can take. They are never in memory at once.
    """

    max_duration_s: float
    max_decoded_bytes: int = 16 * 2**30


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive samples as they left a decoder, mixed to mono, and what they were before."""

    samples: Samples
    rate: int
    channels: int
    container: str
    codec: str


def sanitised(values: Samples) -> Samples:
    """In place: what is not a number or infinite becomes 0, the rest is clipped to [-1, 1]."""
    if not values.size:
        return values
    peak = max(values.max(), -values.min())
    if not peak <= 1.0:  # true for NaN as well
        np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        np.clip(values, -1.0, 1.0, out=values)
    return values


def downmix(channels: npt.NDArray[np.float32]) -> Samples:
    """The mean over the first axis of [channels, frames].

    Channel by channel: `mean` takes twenty times as long on interleaved stereo; a matrix product wakes BLAS threads.
    """
    first: Samples = channels[0]
    if len(channels) == 1:
        return first
    mono = first.copy()
    for channel in channels[1:]:
        mono += channel
    mono *= np.float32(1 / len(channels))
    return mono


class Resampler:
    """Gives what is pushed at 16 kHz, as soon as it can; `flush` gives what it still holds.

    A stream may change its rate half-way (chained ogg, AAC): each run of one rate is resampled by itself. What comes
    out is the same to the bit, however the samples are split into blocks.
    """

    def __init__(self) -> None:
        self._rate = SAMPLE_RATE
        self._stream: soxr.ResampleStream | None = None

    def push(self, block: Block) -> Samples:
        """Take the next block.

        Raises:
            UndecodableAudio: at a rate that no recording has.
        """
        if not MIN_RATE <= block.rate <= MAX_RATE:
            raise _refused(block, f"a sample rate of {block.rate} Hz (possible: {MIN_RATE} to {MAX_RATE} Hz)")
        if block.rate != self._rate:
            rest, self._rate = self.flush(), block.rate
            return np.concatenate([rest, self.push(block)])
        if self._rate == SAMPLE_RATE:
            return block.samples
        if self._stream is None:
            self._stream = soxr.ResampleStream(self._rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        samples: Samples = self._stream.resample_chunk(block.samples)
        return samples

    def flush(self) -> Samples:
        """End the run: what is pushed from here on does not touch it."""
        stream, self._stream = self._stream, None
        nothing = np.empty(0, np.float32)
        return nothing if stream is None else stream.resample_chunk(nothing, last=True)


class Recorder:
    """Collects blocks into one waveform. `push` as they come, then `finish` once; `close` in any case."""

    def __init__(self, limits: Limits, *, checkpoint: Checkpoint = always_on) -> None:
        self._limits = limits
        self._checkpoint = checkpoint
        self._pieces: list[Samples] = []
        self._filled = LONG
        self._file: IO[bytes] | None = None
        self._duration_s = 0.0
        self._decoded_bytes = 0
        self._resampler = Resampler()

    def push(self, block: Block) -> None:
        """Take the next block.

        Raises:
            AudioTooLong: past the duration limit.
            UndecodableAudio: past the limit of bytes, or at a rate that no recording has.
        """
        self._checkpoint()
        self._append(self._resampler.push(block))
        self._account(block)

    def finish(self) -> Samples:
        """The waveform: float32, 16 kHz, within [-1, 1]; empty if no sample came."""
        self._checkpoint()
        self._append(self._resampler.flush())
        if self._pieces:
            self._pieces[-1] = self._pieces[-1][: self._filled]
        if self._file is None:
            return np.concatenate([*self._pieces, np.empty(0, np.float32)])
        self._write(self._file)
        # Private: what is written to it does not reach the file, which is gone when the waveform is.
        return np.frombuffer(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY), np.float32)

    def close(self) -> None:
        """Let the file go; the waveform keeps what it needs of it."""
        if self._file is not None:
            self._file.close()

    def _account(self, block: Block) -> None:
        self._duration_s += len(block.samples) / block.rate
        if self._duration_s > self._limits.max_duration_s:
            raise AudioTooLong(limit_s=self._limits.max_duration_s)
        self._decoded_bytes += len(block.samples) * block.channels * _FLOAT32_BYTES
        if self._decoded_bytes > self._limits.max_decoded_bytes:
            gib = self._limits.max_decoded_bytes / 2**30
            raise _refused(block, f"it unpacks to more than {gib:g} GiB of samples")

    def _append(self, samples: Samples) -> None:
        while len(samples):
            if self._filled == LONG:
                self._begin_piece()
            part = samples[: LONG - self._filled]
            np.clip(part, -1.0, 1.0, out=self._pieces[-1][self._filled : self._filled + len(part)])
            self._filled += len(part)
            samples = samples[len(part) :]

    def _begin_piece(self) -> None:
        """Move those that are full to the file; where there is no folder for one, they stay in memory."""
        if self._pieces and self._file is None:
            with suppress(FileNotFoundError):
                self._file = tempfile.TemporaryFile(prefix="wren-waveform-")  # noqa: SIM115 - see `close`
        if self._file is not None:
            self._write(self._file)
        self._pieces.append(np.empty(LONG, np.float32))
        self._filled = 0

    def _write(self, file: IO[bytes]) -> None:
        for piece in self._pieces:
            file.write(piece.data)
        file.flush()
        self._pieces.clear()


def _refused(block: Block, reason: str) -> UndecodableAudio:
    return UndecodableAudio(container=block.container, codec=block.codec, reason=reason)
