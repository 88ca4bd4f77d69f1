"""Clients of both live protocols that no server should mind: they leave, send rubbish, or have no business there.

What the server did about one comes out, as a word or two that can be counted.
"""

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from benchmarks.live import ASKED, LINEAR16, Sound
from benchmarks.servers import Server
from service.cli.server import MAX_MESSAGE_BYTES

DEEPGRAM, REALTIME = "/v1/listen", "/v1/realtime"
QUERIES: Mapping[str, Mapping[str, str]] = {
    DEEPGRAM: {**ASKED, **LINEAR16, "interim_results": "true"},
    REALTIME: {"intent": "transcription"},
}

OVERSIZED = MAX_MESSAGE_BYTES
"""Bytes of audio in one message: with base64, or one more byte, it is more than is let in."""

LISTENED_S = 5.0
"""How long a heckler waits for what the server does about it; longer where it says nothing at all."""

IDLE_S = 15.0
"""Deepgram's sessions are closed after ten seconds without a message."""

STAYS = "stays open"
LEFT = "left"


@dataclass(frozen=True, slots=True)
class Ending:
    """How one went: `kind` of heckler, the protocol's route, and what the server did."""

    kind: str
    route: str
    outcome: str

    @property
    def unexplained(self) -> bool:
        """Thrown out as if by a fault of the server's, and not told why."""
        return self.outcome in ("closed 1006", "closed 1011", "refused 500")


@dataclass
class Heckler:
    """One session of a kind, over a protocol; what is random comes from the seed."""

    server: Server
    route: str
    sound: Sound
    random: random.Random

    def connection(self, *, key: str | None = None, **options: str) -> connect:
        headers = {"authorization": f"Bearer {self.server.key if key is None else key}"}
        address = f"{self.server.url.replace('http', 'ws', 1)}{self.route}?{urlencode({**self.query, **options})}"
        return connect(
            address, additional_headers=headers, compression=None, max_size=None, ping_interval=None, proxy=None
        )

    @property
    def query(self) -> Mapping[str, str]:
        return QUERIES[self.route]

    async def speak(self, connection: ClientConnection) -> None:
        """Some chunks, at some pace: none to all of it, real time to as fast as it is taken."""
        pause_s = self.random.choice((0.0, self.sound.chunk_s / 4, self.sound.chunk_s))
        for chunk in self.sound.chunks[: self.random.randint(0, len(self.sound.chunks))]:
            await connection.send(self.message(chunk))
            await asyncio.sleep(pause_s)

    def message(self, chunk: bytes) -> bytes | str:
        if self.route == DEEPGRAM:
            return chunk
        return json.dumps({"type": "input_audio_buffer.append", "audio": b64encode(chunk).decode()})


async def drops_out(one: Heckler) -> str:
    async with one.connection() as connection:
        await one.speak(connection)
        if one.random.random() < 0.5:
            connection.transport.abort()
        return LEFT


async def closes_without_a_word(one: Heckler) -> str:
    async with one.connection() as connection:
        await one.speak(connection)
        await connection.close(one.random.choice((1000, 1001, 4000)))
        return LEFT


async def leaves_while_it_is_answered(one: Heckler) -> str:
    async with one.connection() as connection:
        await one.speak(connection)
        end = {"type": "CloseStream" if one.route == DEEPGRAM else "input_audio_buffer.commit"}
        await connection.send(json.dumps(end))
        connection.transport.abort()
        return LEFT


async def sends_garbage(one: Heckler) -> str:
    async with one.connection() as connection:
        await one.speak(connection)
        for _ in range(one.random.randint(1, 5)):
            noise = one.random.randbytes(one.random.randint(1, 20_000))
            await connection.send(noise if one.random.random() < 0.5 else noise.decode("latin-1"))
        return await fate(connection)


async def sends_a_file_that_is_none(one: Heckler) -> str:
    """Deepgram tells a container by its bytes; here they are noise."""
    if one.route != DEEPGRAM:
        return await sends_garbage(one)
    bare = {name: value for name, value in one.query.items() if name not in LINEAR16}
    headers = {"authorization": f"Token {one.server.key}"}
    address = f"{one.server.url.replace('http', 'ws', 1)}{one.route}?{urlencode(bare)}"
    async with connect(address, additional_headers=headers, compression=None, proxy=None) as connection:
        for _ in range(10):
            await connection.send(one.random.randbytes(8_000))
        return await fate(connection)


async def sends_wrong_json(one: Heckler) -> str:
    wrong = ("{", "[]", "3", '{"type": 3}', '{"type": "Nonsense"}', '{"type": "session.update", "session": 1}', "null")
    async with one.connection() as connection:
        for _ in range(one.random.randint(1, 5)):
            await connection.send(one.random.choice(wrong))
        return await fate(connection)


async def has_the_wrong_key(one: Heckler) -> str:
    async with one.connection(key="wrong") as connection:
        return await fate(connection)


async def asks_for_nonsense(one: Heckler) -> str:
    nonsense = ({"encoding": "smoke"}, {"sample_rate": "-1"}, {"endpointing": "soon"}, {"model": "no/such:model"})
    async with one.connection(**one.random.choice(nonsense)) as connection:
        return await fate(connection)


async def sends_too_much_at_once(one: Heckler) -> str:
    async with one.connection() as connection:
        await connection.send(one.message(bytes(OVERSIZED + 1)))
        return await fate(connection)


async def says_nothing(one: Heckler) -> str:
    async with one.connection() as connection:
        return await fate(connection, within_s=IDLE_S)


KINDS: Mapping[Callable[[Heckler], Awaitable[str]], int] = {
    drops_out: 5,
    closes_without_a_word: 3,
    leaves_while_it_is_answered: 3,
    sends_garbage: 2,
    sends_a_file_that_is_none: 2,
    sends_wrong_json: 2,
    has_the_wrong_key: 2,
    asks_for_nonsense: 2,
    sends_too_much_at_once: 1,
    says_nothing: 1,
}
"""With how often each comes."""


async def fate(connection: ClientConnection, *, within_s: float = LISTENED_S) -> str:
    """What the server does with the connection; what it says meanwhile is let pass."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                await connection.recv()
    except TimeoutError:
        return STAYS
    except ConnectionClosed as error:
        code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")
        return f"closed {code} {reason}".strip()


async def heckled(server: Server, sound: Sound, *, seed: int) -> Ending:
    """One session, drawn by the seed."""
    drawn = random.Random(seed)
    (kind,) = drawn.choices(list(KINDS), weights=list(KINDS.values()))
    heckler = Heckler(server, drawn.choice((DEEPGRAM, REALTIME)), sound, drawn)
    return Ending(kind.__name__.replace("_", " "), heckler.route, await _outcome(kind, heckler))


async def _outcome(kind: Callable[[Heckler], Awaitable[str]], heckler: Heckler) -> str:
    try:
        return await kind(heckler)
    except InvalidStatus as error:
        return f"refused {error.response.status_code}"
    except ConnectionClosed as error:
        code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")
        return f"closed {code} {reason}".strip()
    except (OSError, TimeoutError) as error:
        return type(error).__name__
