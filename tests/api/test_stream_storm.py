"""A server process among clients that no server should mind, over both protocols, beside two that only want their text.

What is random comes from a seed: where clients leave, and what noise they send.
"""

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from service.cli.server import MAX_MESSAGE_BYTES
from tests.api.test_stalling import measured
from tests.engine.hosting import eventually
from tests.live import LiveServer, recording, wren_serve

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what a process holds is counted on Linux alone"),
]

DEEPGRAM, REALTIME = "/v1/listen", "/v1/realtime"
RATES = {DEEPGRAM: 16_000, REALTIME: 24_000}
QUERIES = {
    DEEPGRAM: {"encoding": "linear16", "sample_rate": "16000", "interim_results": "true"},
    REALTIME: {"intent": "transcription"},
}
ERRORS = {DEEPGRAM: "Error", REALTIME: "error"}
DONE = "conversation.item.input_audio_transcription.completed"
SENTENCES = ("en/quick_brown_fox", "en/hello_world", "en/counting")
CHUNK_S = 0.05
PAUSE_S = 1.0
ROUNDS = 3
POOLED = 8
"""Threads of pools that need not all have been there before the storm."""

SETTINGS = {"WREN_MODEL": "whisper-tiny.en:int8", "WREN_MAX_STREAMS": "32", "WREN_THREADS": "1"}


@pytest.fixture(scope="module")
def storm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with wren_serve(tmp_path_factory.mktemp("storm") / "log", SETTINGS) as server:
        yield server


@cache
def chunks(route: str) -> tuple[bytes, ...]:
    """Three sentences with a pause behind each, as the protocol has it by default."""
    rate = RATES[route]
    parts = []
    for name in SENTENCES:
        samples, found = soundfile.read(recording(name), dtype="float32")
        parts += [soxr.resample(samples, found, rate), np.zeros(int(PAUSE_S * rate), np.float32)]
    audio = (np.concatenate(parts) * 32_767).astype("<i2").tobytes()
    size = 2 * int(CHUNK_S * rate)
    return tuple(audio[at : at + size] for at in range(0, len(audio), size))


@dataclass(frozen=True, slots=True)
class Client:
    """One session over a protocol."""

    server: LiveServer
    route: str
    draw: random.Random

    def connection(self, *, key: str | None = None) -> connect:
        address = f"{self.server.url.replace('http', 'ws', 1)}{self.route}?{urlencode(QUERIES[self.route])}"
        headers = {"authorization": f"Bearer {self.server.key if key is None else key}"}
        return connect(address, additional_headers=headers, compression=None, max_size=None, proxy=None)

    def message(self, chunk: bytes) -> bytes | str:
        if self.route == DEEPGRAM:
            return chunk
        return json.dumps({"type": "input_audio_buffer.append", "audio": b64encode(chunk).decode()})

    async def speak(self, connection: ClientConnection, *, most: int | None = None, pause_s: float = 0.0) -> None:
        for chunk in chunks(self.route)[:most]:
            await connection.send(self.message(chunk))
            await asyncio.sleep(pause_s)

    async def speak_some(self, connection: ClientConnection) -> None:
        pause_s = self.draw.choice((0.0, CHUNK_S / 5))
        await self.speak(connection, most=self.draw.randint(0, len(chunks(self.route))), pause_s=pause_s)

    async def texts(self, *, pause_s: float = 0.0) -> list[str]:
        """What one who only wants its text is told of the whole."""
        async with self.connection() as connection:
            speaking = asyncio.create_task(self._speak_to_the_end(connection, pause_s))
            found: list[str] = []
            while len(found) < len(SENTENCES):
                text = final_text(json.loads(await connection.recv()))
                found += [text] if text else []
            await speaking
        return found

    async def _speak_to_the_end(self, connection: ClientConnection, pause_s: float) -> None:
        await self.speak(connection, pause_s=pause_s)
        if self.route == DEEPGRAM:
            await connection.send('{"type": "CloseStream"}')


def final_text(told: dict[str, object]) -> str:
    """Of a message of either protocol; nothing where it tells something else."""
    if told["type"] == DONE:
        return str(told["transcript"])
    if told["type"] != "Results" or not told["is_final"]:
        return ""
    channel = told["channel"]
    assert isinstance(channel, dict)
    return str(channel["alternatives"][0]["transcript"])


async def drops_out(client: Client) -> None:
    async with client.connection() as connection:
        await client.speak_some(connection)
        connection.transport.abort()


async def leaves_while_it_is_answered(client: Client) -> None:
    async with client.connection() as connection:
        await client.speak_some(connection)
        end = {"type": "CloseStream" if client.route == DEEPGRAM else "input_audio_buffer.commit"}
        await connection.send(json.dumps(end))
        if client.draw.random() < 0.5:
            connection.transport.abort()


async def sends_noise(client: Client) -> None:
    """Which is audio to Deepgram's protocol, and no event to the other; it may be a malformed one to both."""
    async with client.connection() as connection:
        for _ in range(5):
            noise = client.draw.randbytes(client.draw.randint(1, 20_000))
            await connection.send(noise if client.draw.random() < 0.5 else noise.decode("latin-1"))
        await connection.send("\N{REPLACEMENT CHARACTER}")
        assert await is_told_so(connection, client.route)


async def sends_wrong_json(client: Client) -> None:
    wrong = ("{", "[]", "3", "null", '{"type": 3}', '{"type": "Nonsense"}', '{"type": "session.update", "session": 1}')
    async with client.connection() as connection:
        await connection.send(client.draw.choice(wrong))
        assert await is_told_so(connection, client.route)
        await client.speak_some(connection)  # it may go on


async def has_the_wrong_key(client: Client) -> None:
    if client.route == DEEPGRAM:
        with pytest.raises(InvalidStatus) as refused:
            await client.connection(key="wrong").__aenter__()
        assert refused.value.response.status_code == 401
        return
    async with client.connection(key="wrong") as connection:
        assert await is_told_so(connection, client.route)
        assert await close_code(connection) == 1008


async def sends_too_much_at_once(client: Client) -> None:
    async with client.connection() as connection:
        await client.speak_some(connection)
        try:
            await connection.send(b"\0" * (MAX_MESSAGE_BYTES + 1))
            code = await close_code(connection)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
        assert code == 1009


KINDS: tuple[Callable[[Client], Awaitable[None]], ...] = (
    drops_out,
    leaves_while_it_is_answered,
    sends_noise,
    sends_wrong_json,
    has_the_wrong_key,
    sends_too_much_at_once,
)


async def is_told_so(connection: ClientConnection, route: str) -> bool:
    """Whether the server says what was wrong; whatever else it says is let pass."""
    async for message in connection:
        if json.loads(message)["type"] == ERRORS[route]:
            return True
    return False


async def close_code(connection: ClientConnection) -> int | None:
    """With which the server closes; what it says meanwhile is let pass."""
    try:
        while True:
            await connection.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def storm(server: LiveServer, *, rounds: int, seed: int) -> None:
    """Each kind over each protocol, all at once, some times in a row."""
    draw = random.Random(seed)

    async def misbehave(kind: Callable[[Client], Awaitable[None]], route: str, own: random.Random) -> None:
        for _ in range(rounds):
            await kind(Client(server, route, own))

    clients = [(kind, route, random.Random(draw.random())) for kind in KINDS for route in RATES]
    await asyncio.gather(*(misbehave(*client) for client in clients))


@dataclass(frozen=True, slots=True)
class Level:
    """What a server holds."""

    streams: float
    tasks: float
    descriptors: float
    threads: int


def level(server: LiveServer) -> Level:
    text = httpx.get(f"{server.url}/metrics").text
    return Level(
        measured(text, "wren_streams"),
        measured(text, "wren_tasks"),
        measured(text, "process_open_fds"),
        threads=sum(1 for _ in Path(f"/proc/{server.pid}/task").iterdir()),
    )


async def test_a_storm_of_clients_leaves_nothing_and_harms_nobody(storm_server: LiveServer) -> None:
    server = storm_server
    well_behaved = [Client(server, route, random.Random(0)) for route in RATES]
    alone = [await client.texts() for client in well_behaved]
    assert "lazy dog" in alone[0][0]
    await storm(server, rounds=1, seed=0)  # whatever is made once is there afterwards
    await eventually(lambda: level(server).streams == 0)
    before = level(server)

    beside = [asyncio.create_task(client.texts(pause_s=CHUNK_S / 2)) for client in well_behaved]
    await storm(server, rounds=ROUNDS, seed=1)
    assert await asyncio.gather(*beside) == alone

    def is_level() -> bool:
        now = level(server)
        return (now.streams, now.tasks, now.descriptors) == (0, before.tasks, before.descriptors)

    await eventually(is_level)
    assert level(server).threads <= before.threads + POOLED
    assert [await client.texts() for client in well_behaved] == alone
    log = server.log.read_text()
    assert '"level": "error"' not in log
    assert "Traceback" not in log
