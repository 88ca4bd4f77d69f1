"""What is done with the library; no test has a microphone."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from types import ModuleType, TracebackType
from typing import Self

import pytest
import typer

from service.cli.microphone import BLOCK, QUEUED, _recorded


class PortAudioError(Exception):
    """As the library has it."""


class Stream:
    """Gives one block as it is opened; device 9 does not exist."""

    closed = 0

    def __init__(
        self, rate: int, block: int, device: str | int | None, *, channels: int, dtype: str,
        callback: Callable[[bytes, int, object, object], None],
    ) -> None:  # fmt: skip
        if device == 9:
            raise PortAudioError("no such device")
        assert (rate, channels, dtype) == (16_000, 1, "int16")
        self._callback, self._block = callback, block

    def __enter__(self) -> Self:
        self._callback(bytes(2 * self._block), self._block, None, None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        Stream.closed += 1


def library(stream: type[Stream] = Stream) -> ModuleType:
    found = ModuleType("sounddevice")
    vars(found).update(RawInputStream=stream, PortAudioError=PortAudioError)
    return found


def test_what_is_recorded_comes_in_blocks_and_the_device_is_given_back() -> None:
    async def first() -> bytes:
        async with aclosing(_recorded(library(), None)) as blocks:
            return await anext(blocks)

    closed = Stream.closed
    assert asyncio.run(first()) == bytes(2 * BLOCK)
    assert Stream.closed == closed + 1


def test_a_device_that_is_not_there_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    async def first() -> None:
        async for _ in _recorded(library(), 9):
            raise AssertionError("nothing can be heard")

    with pytest.raises(typer.Exit):
        asyncio.run(first())
    assert "no such device. See --list-devices" in capsys.readouterr().err


class Flood(Stream):
    """Gives a second more than may wait, each block with its number."""

    def __enter__(self) -> Self:
        for number in range(QUEUED + 20):
            self._callback(bytes([number % 256]), self._block, None, None)
        return self


class Stuttering(Stream):
    """Tells with each block that sound was lost before it."""

    def __enter__(self) -> Self:
        for _ in range(2):
            self._callback(b"s", self._block, None, "input overflow")
        return self


@pytest.mark.parametrize(("stream", "first"), [(Flood, bytes([20])), (Stuttering, b"s")])
def test_sound_that_is_lost_is_the_oldest_and_told_once(
    stream: type[Stream], first: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    async def heard() -> bytes:
        async with aclosing(_recorded(library(stream), None)) as blocks:
            return await anext(blocks)

    assert asyncio.run(heard()) == first
    assert capsys.readouterr().err.count("was lost") == 1
