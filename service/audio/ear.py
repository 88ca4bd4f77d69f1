"""A stream's bytes in, what can be heard in them out: where speech begins and ends, with the sound to recognise.

One thread a stream, which sleeps in its pipe. It tells by calling `tell`, in its own thread; the orders it is given
meanwhile are marks in the pipe, so that each takes effect at one sample of the stream.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from service.audio import endpoint
from service.audio.checkpoint import Abandoned
from service.audio.endpoint import Ended, Move, Paused, Rules, State
from service.audio.live import decode_live
from service.audio.pipe import Pipe
from service.audio.tape import Tape
from service.audio.types import SAMPLE_RATE, RawFormat, Samples, Span
from service.audio.vad import CHUNK, SpeechDetector
from service.errors import AudioError

TICK = SAMPLE_RATE // 10 // CHUNK * CHUNK
"""How often it is told how far the stream is: a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Grown:
    """The open segment, as far as it has come, was asked for."""

    span: Span


@dataclass(frozen=True, slots=True)
class Passed:
    """The stream has come so far, and nobody speaks."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was not cut is forgotten, as was asked."""


@dataclass(frozen=True, slots=True)
class Over:
    """The stream has ended; `error` where it could not be heard to its end."""

    error: Exception | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Overheard:
    """Something that was heard.

    Attributes:
        what: it.
        clock: samples of the stream heard by then.
        arrived_s: monotonic clock, when the last of them came.
        samples: of the span that is to be recognised.
    """

    what: Move | Grown | Passed | Forgotten | Over
    clock: int
    arrived_s: float
    samples: Samples | None = None


class Ear:
    """Made on the event loop; `run` is its thread's work, and whatever is a mark is called there.

    Attributes:
        wanted: the open segment is told as it stands once so many samples were heard and somebody speaks; None for not
            at all. Set on the event loop, and by the ear to None when it tells: whoever is told asks again.
    """

    def __init__(self, detector: SpeechDetector, pipe: Pipe, rules: Rules, tell: Callable[[Overheard], None]) -> None:
        self._walk, self._pipe, self._rules, self._tell = detector.walk(), pipe, rules, tell
        self._state, self._tape, self._ticked = State(), Tape(), 0
        self.wanted: int | None = None

    def run(self, raw: RawFormat | None) -> None:
        """Listen to the end; whatever happens is told."""
        error: Exception | None = None
        try:
            error = self._decoded(raw)
            self.cut("end")
        except Abandoned:
            return
        except Exception as failure:  # whatever it is, somebody waits to be told
            error = failure
        self._say(Over(error))

    def follow(self, rules: Rules) -> None:
        """Go by other rules from here on. A mark."""
        self._rules = replace(rules, since=self._state.needed(self._rules))

    def cut(self, why: Literal["asked", "end"]) -> None:
        """End the segment here. A mark."""
        self._rest()
        self._state, moves = endpoint.cut(self._state, self._rules, why)
        self._say_all(moves)

    def clear(self) -> None:
        """Forget what was not cut. A mark."""
        self._rest()
        self._state = endpoint.cleared(self._state)
        self._say(Forgotten())

    def _decoded(self, raw: RawFormat | None) -> AudioError | None:
        """What is wrong with the audio, if anything is: what could be heard before that counts."""
        try:
            decode_live(self._pipe, raw, self._take)
        except AudioError as error:
            return error
        return None

    def _take(self, samples: Samples) -> None:
        self._tape.append(samples, needed=self._state.needed(self._rules))
        for probability in self._walk.push(samples):
            self._advance(probability, CHUNK)

    def _rest(self) -> None:
        rest = self._walk.rest()
        if rest is not None:
            self._advance(*rest)

    def _advance(self, probability: float, length: int) -> None:
        self._state, moves = endpoint.advance(self._state, probability, self._rules, length=length)
        self._say_all(moves)
        state, span = self._state, self._state.span(self._rules, self._state.clock)
        if span is None:
            if state.clock - self._ticked >= TICK:
                self._say(Passed())
        elif self.wanted is not None and state.clock >= self.wanted and state.certain and state.silent is None:
            self.wanted = None
            self._say(Grown(span), span)

    def _say_all(self, moves: tuple[Move, ...]) -> None:
        for move in moves:
            self._say(move, move.span if isinstance(move, Paused | Ended) else None)

    def _say(self, what: Move | Grown | Passed | Forgotten | Over, span: Span | None = None) -> None:
        self._ticked = self._state.clock
        samples = None if span is None else self._tape.cut(span)
        self._tell(Overheard(what, self._state.clock, self._pipe.arrived_s, samples))
