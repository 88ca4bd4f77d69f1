"""A client of the Deepgram protocol: audio in chunks, at real-time pace or as fast as taken; what it was told out.

It is light, and what it is told is read only when the stream is over: sixteen of them run beside the server unnoticed.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from urllib.parse import urlencode

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from benchmarks.servers import Server
from benchmarks.timing import Timed, timed
from service.audio.types import SAMPLE_RATE, Samples

ROUTE = "/v1/listen"
CLOSE = json.dumps({"type": "CloseStream"})

LINEAR16 = {"encoding": "linear16", "sample_rate": str(SAMPLE_RATE), "channels": "1"}
ASKED = {"model": "nova-3", "language": "en"}
"""Servers take the name of a cloud model for what they serve."""

QUIET_S = 60
"""Nothing told for so long after the last chunk: the stream is given up."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Audio cut to what is sent at once; each chunk lasts `chunk_s`, the last at most that; `pause_s` end it."""

    name: str
    chunks: tuple[bytes, ...]
    chunk_s: float
    duration_s: float
    layout: Mapping[str, str]
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """A message. `at_s` is when it came, in seconds after the first chunk was sent; the rest is what it says."""

    at_s: float
    kind: str
    start_s: float = 0.0
    end_s: float = 0.0
    final: bool = False
    speech_final: bool = False
    text: str = ""
    words: tuple[Timed, ...] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a stream.

    Attributes:
        sent_s: when each chunk had been sent.
        told: in the order in which it came.
        closing_s: when "CloseStream" was sent.
        status: of HTTP, where the stream was refused; 101 where it was not.
        code, reason: with which the server closed it; None if it did not.
    """

    sound: Sound
    sent_s: tuple[float, ...] = ()
    told: tuple[Told, ...] = ()
    closing_s: float = 0.0
    status: int = 101
    code: int | None = None
    reason: str = ""

    @property
    def results(self) -> list[Told]:
        return [one for one in self.told if one.kind == "Results"]

    @property
    def finals(self) -> list[Told]:
        return [one for one in self.results if one.final]

    @property
    def text(self) -> str:
        return " ".join(one.text for one in self.finals if one.text)

    @property
    def words(self) -> list[Timed]:
        return [word for one in self.finals for word in one.words]

    def sent_at(self, audio_s: float) -> float:
        """When the audio up to this second of it had been sent."""
        chunk = ceil(round(audio_s / self.sound.chunk_s, 3)) - 1
        return self.sent_s[min(max(chunk, 0), len(self.sent_s) - 1)]


def linear16(samples: Samples) -> bytes:
    return (np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


def sound(name: str, samples: Samples, *, chunk_s: float, pause_s: float = 0.0) -> Sound:
    """As linear16, with so many seconds of silence put to its end."""
    pause = np.zeros(round(pause_s * SAMPLE_RATE), np.float32)
    audio, size = linear16(np.concatenate([samples, pause])), 2 * round(chunk_s * SAMPLE_RATE)
    chunks = tuple(audio[at : at + size] for at in range(0, len(audio), size))
    return Sound(name, chunks, chunk_s, len(audio) / 2 / SAMPLE_RATE, LINEAR16, pause_s)


def opening(server: Server, options: Mapping[str, str]) -> connect:
    """The connection of a stream, to be entered."""
    headers = {"authorization": f"Token {server.key}"} if server.key else {}
    address = f"{server.url.replace('http', 'ws', 1)}{ROUTE}?{urlencode({**ASKED, **options})}"
    return connect(address, additional_headers=headers, compression=None, max_size=None, ping_interval=None, proxy=None)


async def stream(server: Server, sound: Sound, options: Mapping[str, str], *, paced: bool = True) -> Heard:
    """Send all of it and close; paced as it would be spoken, or as fast as the server takes it."""
    try:
        async with opening(server, {**sound.layout, **options}) as connection:
            return await _conversed(connection, sound, paced=paced)
    except InvalidStatus as error:
        return Heard(sound, status=error.response.status_code)


async def _conversed(connection: ClientConnection, sound: Sound, *, paced: bool) -> Heard:
    begun = time.perf_counter()
    raw: list[tuple[float, str | bytes]] = []
    sent: list[float] = []
    listening = asyncio.create_task(_listen(connection, raw, begun))
    closing = 0.0
    with suppress(ConnectionClosed):
        await _send(connection, sound, sent, begun, paced=paced)
        closing = time.perf_counter() - begun
        await connection.send(CLOSE)
    with suppress(TimeoutError):
        async with asyncio.timeout(QUIET_S + (0 if paced else sound.duration_s)):
            await listening
    told = tuple(message(at_s, text) for at_s, text in raw)
    code, reason = connection.close_code, connection.close_reason or ""
    return Heard(sound, tuple(sent), told, closing, code=code, reason=reason)


async def _send(connection: ClientConnection, sound: Sound, sent: list[float], begun: float, *, paced: bool) -> None:
    """A chunk is there to be sent once all of it has been spoken."""
    for number, chunk in enumerate(sound.chunks, start=1):
        if paced:
            await asyncio.sleep(begun + number * sound.chunk_s - time.perf_counter())
        await connection.send(chunk)
        sent.append(time.perf_counter() - begun)


async def _listen(connection: ClientConnection, raw: list[tuple[float, str | bytes]], begun: float) -> None:
    with suppress(ConnectionClosed):
        while True:
            raw.append((await connection.recv(), time.perf_counter() - begun)[::-1])


def message(at_s: float, text: str | bytes) -> Told:
    """What a message says, as far as anything here asks for it."""
    said = json.loads(text)
    if said.get("type") != "Results":
        return Told(at_s, str(said.get("type")), start_s=float(said.get("timestamp", 0.0)))
    found = said["channel"]["alternatives"][0]
    words = ((word.get("punctuated_word", word["word"]), word["start"], word["end"]) for word in found["words"])
    return Told(
        at_s,
        "Results",
        start_s=said["start"],
        end_s=said["start"] + said["duration"],
        final=bool(said["is_final"]),
        speech_final=bool(said["speech_final"]),
        text=found["transcript"],
        words=tuple(timed(words)),
    )


def gaps(finals: Sequence[Told], duration_s: float) -> float:
    """By how many seconds finals fail to lie end to end over the whole of the audio, at the worst place."""
    edges = [0.0, *(one.end_s for one in finals)]
    starts = [*(one.start_s for one in finals), duration_s]
    return max(abs(end - start) for end, start in zip(edges, starts, strict=True))
