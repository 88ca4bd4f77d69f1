"""A microphone in, chunks of audio out, by the library `sounddevice`: the only module that knows it."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from types import ModuleType

from service.audio.types import SAMPLE_RATE
from service.cli.options import fail

BLOCK = SAMPLE_RATE // 20
"""Samples at a time, 50 ms."""

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
    blocks: asyncio.Queue[bytes] = asyncio.Queue()

    def take(block: bytes, _frames: int, _time: object, _status: object) -> None:
        loop.call_soon_threadsafe(blocks.put_nowait, bytes(block))

    with (
        _explained(sounddevice),
        sounddevice.RawInputStream(SAMPLE_RATE, BLOCK, device, channels=1, dtype="int16", callback=take),
    ):
        if sys.stderr.isatty():
            sys.stderr.write("Listening; Ctrl-C ends it.\n")
        while True:
            yield await blocks.get()


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
