import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.audio.checkpoint import Abandoned
from service.audio.pipe import Mark, Pipe

LIMIT = 1000
WAIT_S = 5.0
"""For what must happen; a test that passes never waits that long."""

SHORT_S = 0.02
"""For what must not happen."""


def nothing() -> None:
    pass


@pytest.fixture
def reader() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def pipe() -> Pipe:
    return Pipe(LIMIT, nothing)


def is_mark(taken: bytes | Mark) -> bool:
    return not isinstance(taken, bytes)


def test_small_messages_are_taken_together(pipe: Pipe) -> None:
    for _ in range(300):
        pipe.put(b"ab")
    assert pipe.take(1000) == b"ab" * 300


def test_no_more_is_taken_than_asked_for(pipe: Pipe) -> None:
    pipe.put(b"abcdef")
    assert [pipe.take(4), pipe.take(4)] == [b"abcd", b"ef"]


def test_the_end_comes_after_what_is_left(pipe: Pipe) -> None:
    pipe.put(b"abc")
    pipe.close()
    pipe.put(b"too late")
    pipe.mark(nothing)
    assert [pipe.take(10, least=5), pipe.take(10), pipe.take(10)] == [b"abc", b"", b""]


def test_an_empty_message_is_not_the_end(pipe: Pipe) -> None:
    pipe.put(b"")
    pipe.put(b"a")
    assert pipe.take(10) == b"a"


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_marks_keep_their_places(pipe: Pipe, step: int) -> None:
    pipe.mark(nothing)
    pipe.put(b"abcd")
    pipe.mark(nothing)
    pipe.mark(nothing)
    pipe.put(b"ef")
    pipe.close()
    line = ""
    while taken := pipe.take(step):
        line += taken.decode() if isinstance(taken, bytes) else "|"
    assert line == "|abcd||ef"


def test_a_mark_does_not_wait_for_enough_bytes(pipe: Pipe) -> None:
    pipe.put(b"ab")
    pipe.mark(nothing)
    assert pipe.take(10, least=10) == b"ab"
    assert is_mark(pipe.take(10, least=10))


def test_reading_waits_for_enough_bytes(pipe: Pipe, reader: ThreadPoolExecutor) -> None:
    taken = reader.submit(pipe.take, 10, least=3)
    pipe.put(b"a")
    pipe.put(b"b")
    with pytest.raises(TimeoutError):
        taken.result(SHORT_S)
    pipe.put(b"c")
    assert taken.result(WAIT_S) == b"abc"


def test_more_than_it_holds_is_never_waited_for() -> None:
    pipe = Pipe(4, nothing)
    pipe.put(b"abcd")
    assert pipe.full
    assert pipe.take(100, least=100) == b"abcd"


def test_nothing_is_taken_while_it_is_held(pipe: Pipe, reader: ThreadPoolExecutor) -> None:
    pipe.hold()
    taken = reader.submit(pipe.take, 10)
    pipe.put(b"abc")
    pipe.mark(nothing)
    with pytest.raises(TimeoutError):
        taken.result(SHORT_S)
    pipe.resume()
    assert taken.result(WAIT_S) == b"abc"


@pytest.mark.parametrize("held", [False, True])
def test_a_reader_that_waits_is_told_at_once_that_nobody_does(
    pipe: Pipe, reader: ThreadPoolExecutor, held: bool
) -> None:
    if held:
        pipe.hold()
    taken = reader.submit(pipe.take, 10)
    with pytest.raises(TimeoutError):
        taken.result(SHORT_S)
    pipe.abandon()
    with pytest.raises(Abandoned):
        taken.result(WAIT_S)


def test_an_abandoned_pipe_drops_everything(pipe: Pipe) -> None:
    pipe.put(b"abc")
    pipe.mark(nothing)
    pipe.abandon()
    pipe.put(b"def")
    assert pipe.buffered_bytes == 0
    for _ in range(2):
        with pytest.raises(Abandoned):
            pipe.take(10)


def test_room_is_told_once_when_a_full_pipe_is_half_empty() -> None:
    told: list[int] = []
    taken: list[bytes | Mark] = []
    pipe = Pipe(LIMIT, lambda: told.append(len(taken)))
    for _ in range(2):
        pipe.put(bytes(LIMIT - 1))
        assert not pipe.full
        pipe.put(bytes(1))
        assert pipe.full
        for _ in range(10):
            taken.append(pipe.take(LIMIT // 10))
    assert told == [5, 15]


def test_a_pipe_that_was_not_full_tells_of_no_room() -> None:
    told: list[int] = []
    pipe = Pipe(LIMIT, lambda: told.append(0))
    pipe.put(bytes(LIMIT - 1))
    pipe.take(LIMIT)
    assert not told


def test_marks_alone_fill_it_too() -> None:
    told: list[int] = []
    pipe = Pipe(LIMIT, lambda: told.append(0))
    while not pipe.full:
        pipe.mark(nothing)
    while pipe.buffered_bytes:
        pipe.take(1)
    assert told == [0]


def test_bytes_tell_when_they_arrived(pipe: Pipe) -> None:
    times = [time.monotonic()]
    for _ in range(2):
        pipe.put(b"ab")
        times.append(time.monotonic())
        time.sleep(SHORT_S)
        times.append(time.monotonic())
    pipe.take(1)
    assert times[0] <= pipe.arrived_s <= times[1]
    pipe.take(1)
    assert times[0] <= pipe.arrived_s <= times[1]
    pipe.take(10)
    assert times[2] <= pipe.arrived_s <= times[3]


def test_a_flood_of_single_bytes_takes_little_memory() -> None:
    pipe = Pipe(2**20, nothing)
    tracemalloc.start()
    try:
        for _ in range(50_000):
            pipe.put(b"a")
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 4 * 50_000


def test_two_threads_lose_nothing(reader: ThreadPoolExecutor) -> None:
    room = threading.Event()
    pipe = Pipe(LIMIT, room.set)
    marks: list[int] = []

    def read_all() -> bytes:
        received = b""
        while taken := pipe.take(77, least=5):
            if isinstance(taken, bytes):
                received += taken
            else:
                marks.append(len(received))
                taken()
        return received

    sent = b"".join(index.to_bytes(2, "little") for index in range(20_000))
    received = reader.submit(read_all)
    for start in range(0, len(sent), 30):
        while pipe.full:
            room.clear()
            if pipe.full:
                assert room.wait(WAIT_S)
        pipe.put(sent[start : start + 30])
        if start % 3000 == 0:
            pipe.mark(nothing)
    pipe.close()
    assert received.result(WAIT_S) == sent
    assert marks == [start + 30 for start in range(0, len(sent), 3000)]
