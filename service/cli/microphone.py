"""A microphone in, chunks of audio out, by the library `sounddevice`: the only module that knows it."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType

from service.audio.types import SAMPLE_RATE
from service.cli.options import complain, fail

BLOCK = SAMPLE_RATE // 20
"""Samples at a time, 50 ms."""

QUEUED = 10 * SAMPLE_RATE // BLOCK
"""Blocks that wait, 10 s: what listens may fall behind, and who speaks must not fill the memory meanwhile."""

_MISSING = (
    "The microphone needs the Python package sounddevice (pip install 'wren-asr[microphone]') and PortAudio "
    "(apt install libportaudio2, brew install portaudio). Without them: arecord -f S16_LE -r 16000 -t raw | wren "
    "listen - --rate 16000"
)


def devices() -> str:
    """A table of the devices of this machine."""
    sounddevice = _library()
    with _explained(sounddevice):
        return str(sounddevice.query_devices())


def spoken_into(device: str | None) -> AsyncIterator[bytes]:
    """16-bit samples of one channel, as long as somebody listens.

    Args:
        device: number or part of the name; None for what the system has chosen.
    """
    return _recorded(_library(), int(device) if device is not None and device.isdecimal() else device)


async def _recorded(sounddevice: ModuleType, device: str | int | None) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    blocks = _Blocks()

    def take(block: bytes, _frames: int, _time: object, status: object) -> None:
        loop.call_soon_threadsafe(partial(blocks.put, bytes(block), broken=bool(status)))

    with (
        _explained(sounddevice),
        sounddevice.RawInputStream(SAMPLE_RATE, BLOCK, device, channels=1, dtype="int16", callback=take),
    ):
        if sys.stderr.isatty():
            sys.stderr.write("Listening; Ctrl-C ends it.\n")
        while True:
            yield await blocks.get()


class _Blocks:
    """What waits to be heard. Too much of it drops the oldest, and says so once."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUED)
        self._complained = False

    def put(self, block: bytes, *, broken: bool) -> None:
        """Take a block; `broken` if the library says that it lost sound before it."""
        full = self._queue.full()
        if full:
            self._queue.get_nowait()
        self._queue.put_nowait(block)
        if (full or broken) and not self._complained:
            self._complained = True
            complain("Sound of the microphone was lost: what hears it is too slow. Try a smaller model (--model).")

    async def get(self) -> bytes:
        return await self._queue.get()


def _library() -> ModuleType:
    try:
        import sounddevice
    except (ImportError, OSError):  # the package is missing; PortAudio is
        fail(_MISSING)
    found: ModuleType = sounddevice
    return found


@contextmanager
def _explained(sounddevice: ModuleType) -> Iterator[None]:
    try:
        yield
    except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: no such device
        fail(f"The microphone cannot be used: {error}. See --list-devices, choose with --device.")
