"""Bytes of a live stream in from the event loop, out to the thread that decodes them, with marks among them.

Neither side waits for the other by polling: the reader sleeps until bytes, a mark or the end come, and the writer is
told when there is room again. What is put is never refused: who writes looks at `full` first.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from service.audio.checkpoint import Abandoned

Mark = Callable[[], None]
"""What is to be done in the reader's thread once it has taken all bytes that were put before."""

_MARK_BYTES = 256
"""What a mark counts as: so many marks fill a pipe as well."""

_TICK_S = 0.005
"""Bytes that come closer together than this share a time of arrival, the first one's."""


@dataclass(slots=True)
class _Arrival:
    """All bytes of the stream up to `end`, from where the last arrival ended, came at `at_s`."""

    end: int
    at_s: float


class Pipe:
    """A bounded pipe from one writer, who never waits, to one reader, who does.

    Attributes:
        arrived_s: `time.monotonic()` when the last of the bytes that were taken last had been put.
    """

    def __init__(self, limit_bytes: int, on_room: Callable[[], None]) -> None:
        """`on_room` is called in the reader's thread when a pipe that was full is half empty."""
        self._limit_bytes, self._on_room = limit_bytes, on_room
        self._changed = threading.Condition()
        self._data = bytearray()
        self._marks: deque[tuple[int, Mark]] = deque()
        self._arrivals: deque[_Arrival] = deque()
        self._put = self._taken = 0
        """Bytes since the stream began: marks and arrivals are places on this scale."""
        self._awaited = 1
        self._was_full = self._closed = self._held = self._abandoned = False
        self.arrived_s = time.monotonic()

    @property
    def buffered_bytes(self) -> int:
        """What was put and not taken; a mark counts as well."""
        return len(self._data) + _MARK_BYTES * len(self._marks)

    @property
    def full(self) -> bool:
        """Whether to wait for `on_room` before the next `put`."""
        return self.buffered_bytes >= self._limit_bytes

    def put(self, data: bytes) -> None:
        """Add bytes, at once and whatever their number. After `close` or `abandon` they are dropped."""
        with self._changed:
            if self._closed or not data:
                return
            self._data += data
            self._put += len(data)
            self._note_arrival()
            self._grown()

    def mark(self, what: Mark) -> None:
        """Add a mark behind the bytes that were put so far. After `close` or `abandon` it is dropped."""
        with self._changed:
            if not self._closed:
                self._marks.append((self._put, what))
                self._grown()

    def close(self) -> None:
        """Say that no more comes: what is left is taken first."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def abandon(self) -> None:
        """Drop everything, and have the reader raise `Abandoned`, even while it waits."""
        with self._changed:
            self._closed = self._abandoned = True
            self._data.clear()
            self._marks.clear()
            self._changed.notify()

    def hold(self) -> None:
        """Let the reader wait, whatever there is, until `resume`."""
        with self._changed:
            self._held = True

    def resume(self) -> None:
        with self._changed:
            self._held = False
            self._changed.notify()

    def take(self, most: int, *, least: int = 1) -> bytes | Mark:
        """The next bytes or, where it is the next thing, a mark; b"" at the end. For the reader alone; waits.

        Fewer bytes than `least` come only before a mark and before the end, and bytes from both sides of a mark never
        together.

        Raises:
            Abandoned: nobody wants them any more.
        """
        with self._changed:
            self._awaited = min(least, self._limit_bytes)
            self._changed.wait_for(self._ready)
            if self._abandoned:
                raise Abandoned
            taken = self._next(most)
            room = self._was_full and self.buffered_bytes < self._limit_bytes // 2
            self._was_full = self._was_full and not room
        if room:
            self._on_room()
        return taken

    def _ready(self) -> bool:
        if self._abandoned:
            return True
        return not self._held and (bool(self._marks) or self._closed or len(self._data) >= self._awaited)

    def _next(self, most: int) -> bytes | Mark:
        if self._marks:
            place, mark = self._marks[0]
            if place == self._taken:
                self._marks.popleft()
                return mark
            most = min(most, place - self._taken)
        data = bytes(self._data[:most])
        del self._data[:most]
        self._taken += len(data)
        self._read_arrival()
        return data

    def _grown(self) -> None:
        self._was_full = self._was_full or self.full
        if self._ready():  # one wake-up for many a small message
            self._changed.notify()

    def _note_arrival(self) -> None:
        now_s = time.monotonic()
        if self._arrivals and now_s - self._arrivals[-1].at_s < _TICK_S:
            self._arrivals[-1].end = self._put
        else:
            self._arrivals.append(_Arrival(self._put, now_s))

    def _read_arrival(self) -> None:
        while self._arrivals and self._arrivals[0].end < self._taken:
            self._arrivals.popleft()
        if self._arrivals:
            self.arrived_s = self._arrivals[0].at_s
