"""Windows in, what a recogniser makes of them in batches out, with where the time went; no engine, one thread.

Rows join and leave as in the engine's executors, by the same rule: one encoder batch at most between two steps. Or a
batch is closed: nobody joins until its last row is done. A window that looks wrong is decoded again, or in halves, as
in any request; or each is decoded once, as peers do in batches.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from service.audio.types import Window
from service.backends.base import EncoderBatch
from service.backends.sequences import Ended, Job
from service.engine.desk import LOOK_AHEAD
from service.engine.forming import State, decide
from service.engine.lanes import BUCKETS
from service.recognition.computation import Answer, Ask, Computation, Encode
from service.recognition.recognizer import Draft, Heed, Recognizer
from service.recognition.types import Language, Options, Segment

Segments = tuple[Segment, ...]
Kind = Literal["joined", "closed", "once"]
"""How a run is made: as the engine does it, in closed batches, or as the engine but each window decoded once."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of the windows, in their order.

    Attributes:
        encode_s: of it, encoder batches; decode_s: prompts and steps. On a GPU they are only true where encodings were
            waited for: else they seem to be over as soon as they have begun.
        decodings: how often a window was decoded; more than once if it looked wrong.
    """

    windows: tuple[Segments, ...]
    audio_s: float
    wall_s: float
    encode_s: float
    decode_s: float
    decodings: int

    @property
    def rtfx(self) -> float:
        """Seconds of audio a second."""
        return self.audio_s / self.wall_s

    @property
    def tokens(self) -> float:
        """Of a window on average."""
        return sum(len(one) for one in self.spelled) / len(self.windows)

    @property
    def spelled(self) -> list[tuple[int, ...]]:
        """The tokens of each window."""
        return [tuple(token.id for segment in one for token in segment.tokens) for one in self.windows]

    @property
    def texts(self) -> list[str]:
        return ["".join(segment.text for segment in one) for one in self.windows]

    @property
    def shares(self) -> tuple[float, float, float]:
        """Percent of the time that are encoding, decoding, and all that the host does besides."""
        parts = (self.encode_s, self.decode_s, self.wall_s - self.encode_s - self.decode_s)
        encode, decode, host = (100 * part / self.wall_s for part in parts)
        return encode, decode, host


@dataclass(slots=True, eq=False)
class _Work:
    index: int
    computation: Computation[Segments]
    ask: Ask


@dataclass(slots=True, eq=False)
class _Turn:
    """One run: who waits for the encoder, who is decoded, what is done."""

    waiting: deque[_Work] = field(default_factory=deque)
    running: dict[int, _Work] = field(default_factory=dict)
    done: dict[int, Segments] = field(default_factory=dict)
    encode_s: float = 0.0
    decode_s: float = 0.0
    decodings: int = 0


class Batches:
    """The rows of one recogniser, kept between runs as the engine keeps them: what was recorded for them is there."""

    def __init__(self, recognizer: Recognizer, *, rows: int, positions: int = BUCKETS[-1]) -> None:
        self._recognizer, self._backend = recognizer, recognizer.backend
        self._rows = self._backend.sequences(recognizer.family, capacity=rows, length=positions)

    def run(self, windows: Sequence[Window], options: Options, *, kind: Kind = "joined", timed: bool = False) -> Ran:
        """Recognise them; `timed` waits for each encoding to tell stages apart, which costs some time.

        Raises:
            Exception: what the backend raised on one of them.
        """
        started, turn = time.perf_counter(), _Turn()
        step = self._rows.capacity if kind == "closed" else len(windows)
        for first in range(0, len(windows), step):
            group = range(first, min(first + step, len(windows)))
            turn.waiting.extend(self._begun(index, windows[index], options, kind) for index in group)
            self._drain(turn, timed=timed)
        wall_s = time.perf_counter() - started
        found = tuple(turn.done[index] for index in range(len(windows)))
        return Ran(found, sum(one.duration_s for one in windows), wall_s, turn.encode_s, turn.decode_s, turn.decodings)

    def _begun(self, index: int, window: Window, options: Options, kind: Kind) -> _Work:
        heed = Heed((Language(options.language or self._recognizer.family.languages[0], 1.0),))
        if kind == "once":
            computation = _once(self._recognizer.draft(window, options, heed, ()))
        else:
            computation = self._recognizer.transcribe(window, options, heed)
        return _Work(index, computation, next(computation))

    def _drain(self, turn: _Turn, *, timed: bool) -> None:
        encodes, capacity = 0, self._rows.capacity
        while turn.waiting or turn.running:
            if decide(State(len(self._rows), capacity, len(turn.waiting), encodes)).action == "step":
                encodes = 0
                self._step(turn)
            else:
                encodes += 1
                self._encode(turn, capacity - len(self._rows), timed=timed)

    def _encode(self, turn: _Turn, room: int, *, timed: bool) -> None:
        most = min(room, self._backend.encoder_rows, LOOK_AHEAD, len(turn.waiting))
        works = [turn.waiting.popleft() for _ in range(most)]
        asks = [work.ask for work in works if isinstance(work.ask, Encode)]
        batch = EncoderBatch.of([self._recognizer.features(ask) for ask in asks])
        started = time.perf_counter()
        memories = self._backend.encode(batch)
        if timed:
            self._backend.finish()
        turn.encode_s += time.perf_counter() - started
        for work, memory in zip(works, memories, strict=True):
            self._go_on(turn, work, memory)
        self._join(turn, works)

    def _join(self, turn: _Turn, works: Sequence[_Work]) -> None:
        """Those of them that want to be decoded."""
        entering = {id(work.ask): work for work in works if isinstance(work.ask, Job) and work.index not in turn.done}
        turn.running |= entering
        turn.decodings += len(entering)
        started = time.perf_counter()
        ended = self._rows.join([work.ask for work in entering.values() if isinstance(work.ask, Job)])
        turn.decode_s += time.perf_counter() - started
        self._leave(turn, ended)

    def _step(self, turn: _Turn) -> None:
        started = time.perf_counter()
        ended = self._rows.step()
        turn.decode_s += time.perf_counter() - started
        self._leave(turn, ended)

    def _leave(self, turn: _Turn, ended: Sequence[Ended]) -> None:
        again = []
        for one in ended:
            if isinstance(one.result, Exception):
                raise one.result
            work = turn.running.pop(id(one.job))
            self._go_on(turn, work, one.result)
            again.append(work)
        if again:
            self._take_up(turn, again)

    def _take_up(self, turn: _Turn, works: Sequence[_Work]) -> None:
        """Windows that looked wrong ask for more: to be encoded in full, or decoded hotter."""
        left = [work for work in works if work.index not in turn.done]
        turn.waiting.extendleft(work for work in left if isinstance(work.ask, Encode))
        if any(isinstance(work.ask, Job) for work in left):
            self._join(turn, left)

    def _go_on(self, turn: _Turn, work: _Work, answer: Answer) -> None:
        try:
            work.ask = work.computation.send(answer)
        except StopIteration as end:
            turn.done[work.index] = end.value


def _once(drafting: Computation[Draft]) -> Computation[Segments]:
    return (yield from drafting).segments
