"""The socket against a connection that is played, so that the client can leave or stall at any point."""

import asyncio
from typing import Literal

import pytest
from pydantic import BaseModel
from starlette.types import Message
from starlette.websockets import WebSocket

from service.api.sockets import MAX_REASON_BYTES, ClientLeft, Socket, converse, fitting

pytestmark = pytest.mark.anyio


class Note(BaseModel):
    type: Literal["note"] = "note"
    nothing: str | None = None


class Peer:
    """A client, as a server shows it to an app: sending to it raises `fault`, or never ends if it is `stalled`."""

    def __init__(self, *, fault: Exception | None = None, stalled: bool = False) -> None:
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        self._fault, self._stalled = fault, stalled
        self.sent: list[Message] = []

    def says(self, message: Message) -> None:
        self._incoming.put_nowait(message)

    async def send(self, message: Message) -> None:
        if message["type"] != "websocket.accept":
            if self._fault is not None:
                raise self._fault
            if self._stalled:
                await asyncio.Event().wait()
        self.sent.append(message)

    async def accepted(self) -> Socket:
        scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b""}
        socket = Socket(WebSocket(scope, self._incoming.get, self.send), patience_s=0.02)
        await socket.accept(headers={"x-request-id": "a"})
        return socket


TEXT = {"type": "websocket.receive", "text": "hello"}
BYTES = {"type": "websocket.receive", "bytes": b"audio", "text": None}
GONE = {"type": "websocket.disconnect", "code": 1006}


async def test_messages_come_as_they_were_sent_and_none_after_the_last() -> None:
    peer = Peer()
    socket = await peer.accepted()
    for message in (TEXT, BYTES, GONE):
        peer.says(message)
    assert [await socket.receive() for _ in range(5)] == ["hello", b"audio", None, None, None]


async def test_waiting_in_vain_loses_nothing() -> None:
    peer = Peer()
    socket = await peer.accepted()
    with pytest.raises(TimeoutError):
        await socket.receive(0.001)
    peer.says(TEXT)
    assert await socket.receive(1) == "hello"


async def test_nulls_are_sent_unless_they_are_not_wanted() -> None:
    peer = Peer()
    socket = await peer.accepted()
    await socket.send(Note())
    await socket.send(Note(), nulls=False)
    assert [message["text"] for message in peer.sent[1:]] == ['{"type":"note","nothing":null}', '{"type":"note"}']


@pytest.mark.parametrize("peer", [{"fault": OSError()}, {"fault": RuntimeError("closed")}, {"stalled": True}])
async def test_who_takes_nothing_has_left(peer: dict[str, object]) -> None:
    socket = await Peer(**peer).accepted()  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(ClientLeft):
            await socket.send(Note())
    await socket.close(1000)


@pytest.mark.parametrize("peer", [{}, {"fault": OSError()}, {"stalled": True}])
async def test_closing_is_safe_at_any_time(peer: dict[str, object]) -> None:
    socket = await Peer(**peer).accepted()  # type: ignore[arg-type]
    await socket.close(1000, "first")
    await socket.close(1011, "second")
    with pytest.raises(ClientLeft):
        await socket.send(Note())


async def test_only_the_first_close_is_sent_and_none_to_who_left() -> None:
    peer = Peer()
    socket = await peer.accepted()
    await socket.close(1008, "é" * 100)
    await socket.close(1000)
    assert [message.get("code") for message in peer.sent[1:]] == [1008]
    assert len(peer.sent[1]["reason"].encode()) <= MAX_REASON_BYTES
    left = Peer()
    socket = await left.accepted()
    left.says(GONE)
    await socket.receive()
    await socket.close(1000)
    assert len(left.sent) == 1


@pytest.mark.parametrize("reason", ["", "a" * 123, "a" * 124, "é" * 62, "a" + "é" * 62, "🎤" * 40])
def test_reasons_fit_the_frame_in_whole_letters(reason: str) -> None:
    cut = fitting(reason)
    assert reason.startswith(cut)
    assert MAX_REASON_BYTES - 4 < len(cut.encode()) <= MAX_REASON_BYTES or cut == reason


class Task:
    """Waits until it is cancelled."""

    cancelled = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def _fails(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


async def _ends() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("first", [_ends, lambda: _fails(ClientLeft())], ids=["it ended", "the client left"])
async def test_the_first_to_end_ends_the_other(first: object) -> None:
    assert callable(first)
    for swapped in (False, True):
        other = Task()
        pair = (first(), other.run())
        await converse(*(reversed(pair) if swapped else pair))
        assert other.cancelled


async def test_a_fault_of_either_is_raised() -> None:
    other = Task()
    with pytest.raises(ZeroDivisionError):
        await converse(other.run(), _fails(ZeroDivisionError()))
    assert other.cancelled


async def test_being_cancelled_cancels_both() -> None:
    tasks = Task(), Task()
    whole = asyncio.create_task(converse(tasks[0].run(), tasks[1].run()))
    await asyncio.sleep(0.01)
    whole.cancel()
    with pytest.raises(asyncio.CancelledError):
        await whole
    assert [task.cancelled for task in tasks] == [True, True]
