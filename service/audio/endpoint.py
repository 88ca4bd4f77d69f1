"""How likely each chunk of a stream is speech, in; where speech begins and ends and segments are cut, out. Pure.

A state machine on the audio clock: what it says depends on the audio alone, not on when or in which pieces it came.

A *turn* is what somebody says until they pause for long enough; a *segment* is what is recognised at a time, mostly a
turn, or the part of a long one up to a short pause. Segments lie end to end from the first sample on. A segment that
holds speech says which part of it: the rest is silence.
"""

from dataclasses import dataclass, replace
from typing import Literal

from service.audio.types import SAMPLE_RATE, Span, VadOptions
from service.audio.vad import CHUNK, EXIT_MARGIN, MIN_SPEECH_MS

Cut = Literal["pause", "length", "asked", "end"]
"""Why a segment ended: the speaker paused, it grew too long, the client asked, the stream ended."""

TAIL = SAMPLE_RATE // 4
"""Silence behind the speech that is recognised with it; a shorter one is no pause. Measured: docs/benchmarks.md."""

BREATH = SAMPLE_RATE // 2
"""Sound before the speech and its padding in which the recogniser may look for the beginning of the first word."""

LONG = 6 * SAMPLE_RATE
"""A segment of this length ends at the next short pause: to recognise the open one again and again grows dear, and up
to 8 s were heard no better. Measured: the same place."""

LONGEST = 12 * SAMPLE_RATE
"""Who does not pause at all is cut here, where speech was least likely in the last third."""

LEAST_SILENCE_MS = 300
"""A pause that ends a turn is never shorter: half a sentence is understood worse than a whole. Measured: the same
place."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When speech begins and ends; samples.

    Attributes:
        threshold: probability at which a chunk is speech; it ends 0.15 below.
        lead: sound that a segment may hold before its speech.
        silence: what ends a turn.
        since: what came before is not there any more: other rules let go of it.
    """

    threshold: float
    lead: int
    silence: int
    since: int = 0

    @classmethod
    def of(cls, vad: VadOptions) -> "Rules":
        lead = vad.prefix_padding_ms * SAMPLE_RATE // 1000 + BREATH
        silence_ms = max(LEAST_SILENCE_MS, vad.silence_duration_ms)
        return cls(vad.threshold, lead, silence_ms * SAMPLE_RATE // 1000)


@dataclass(frozen=True, slots=True)
class Began:
    """A turn began with the speech at this sample."""

    at: int


@dataclass(frozen=True, slots=True)
class Paused:
    """The speaker is silent for a moment: if that lasts, the segment holds this span."""

    span: Span


@dataclass(frozen=True, slots=True)
class Resumed:
    """It did not last."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A turn ended with the speech before this sample."""

    at: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A segment, and what of it is to be recognised; None where nobody spoke."""

    segment: Span
    span: Span | None
    cut: Cut


Move = Began | Paused | Resumed | Stopped | Ended


@dataclass(frozen=True, slots=True)
class State:
    """Where a stream is; samples of the stream.

    Attributes:
        clock: heard so far.
        start: where the last segment ended.
        turn: whether one is open.
        began: where the speech of the open segment did; None without any.
        certain: whether that was long enough to be speech.
        silent: since when there has been none; None while there is.
        paused: whether that was long enough to be told.
        faintest: of the chunks where an overlong segment may be cut, the least probable, and its middle.
    """

    clock: int = 0
    start: int = 0
    turn: bool = False
    began: int | None = None
    certain: bool = False
    silent: int | None = None
    paused: bool = False
    faintest: tuple[float, int] = (1.0, 0)

    def span(self, rules: Rules) -> Span | None:
        """What of the open segment is to be recognised, up to now."""
        return None if self.began is None else _span(self, rules, self.clock)

    def needed(self, rules: Rules) -> int:
        """The first sample that anybody may still ask for."""
        return max(self.start, rules.since, (self.clock if self.began is None else self.began) - rules.lead)


def advance(state: State, probability: float, rules: Rules, *, length: int = CHUNK) -> tuple[State, tuple[Move, ...]]:
    """The next chunk, which is speech with this probability; fewer samples than a chunk before a cut."""
    heard = replace(state, clock=state.clock + length)
    if probability >= rules.threshold:
        return _loud(heard, rules, length, probability)
    if state.silent is None and state.began is not None and probability < rules.threshold - EXIT_MARGIN:
        heard = replace(heard, silent=state.clock)
    return _hushed(heard, rules, length, probability)


def cut(state: State, rules: Rules, why: Literal["asked", "end"]) -> tuple[State, tuple[Move, ...]]:
    """End the segment and the turn here, whatever is being said."""
    span = state.span(rules)
    ended = Ended(Span(state.start, state.clock), span, why)
    stop = state.clock if state.silent is None else state.silent
    stopped = (Stopped(stop),) if state.turn else ()
    return State(clock=state.clock, start=state.clock), (*stopped, ended)


def cleared(state: State) -> State:
    """Nothing was said so far."""
    return State(clock=state.clock, start=state.clock)


def _loud(state: State, rules: Rules, length: int, probability: float) -> tuple[State, tuple[Move, ...]]:
    moves: list[Move] = [Resumed()] if state.paused else []
    began = state.clock - length if state.began is None else state.began
    state = replace(state, began=began, silent=None, paused=False)
    state, further = _confirmed(state)
    state, cuts = _bounded(_weighed(state, began, length, probability), rules)
    return state, (*moves, *further, *cuts)


def _hushed(state: State, rules: Rules, length: int, probability: float) -> tuple[State, tuple[Move, ...]]:
    """Not clearly speech, and maybe silence for a while."""
    if state.silent is None:
        if state.began is None:
            return state, ()
        state, further = _confirmed(state)
        state, cuts = _bounded(_weighed(state, state.began or 0, length, probability), rules)
        return state, (*further, *cuts)
    silence = state.clock - state.silent
    if state.began is not None:
        state = _weighed(state, state.began, length, probability)
    if state.began is not None and not state.certain and silence >= TAIL:  # a click
        state = replace(state, began=None, silent=state.silent if state.turn else None)
    if state.silent is not None and silence >= rules.silence:
        return _paused_long(state, rules)
    if state.began is None or not state.certain or state.silent is None or silence < TAIL:
        return state, ()
    span = _span(state, rules, state.silent + TAIL)
    if state.clock - state.began >= LONG:
        ended = Ended(Span(state.start, state.clock), span, "length")
        return State(clock=state.clock, start=state.clock, turn=True, silent=state.silent), (ended,)
    if state.paused:
        return state, ()
    return replace(state, paused=True), (Paused(span),)


def _paused_long(state: State, rules: Rules) -> tuple[State, tuple[Move, ...]]:
    """The turn is over; if it has been cut for its length, nothing may be left of it."""
    silent = state.clock if state.silent is None else state.silent
    span = None if state.began is None else _span(state, rules, silent + TAIL)
    fresh = State(clock=state.clock, start=state.clock)
    return fresh, (Stopped(silent), Ended(Span(state.start, state.clock), span, "pause"))


def _span(state: State, rules: Rules, end: int) -> Span:
    """The speech of the open segment and what leads to it."""
    return Span(state.needed(rules), end)


def _confirmed(state: State) -> tuple[State, tuple[Move, ...]]:
    """Speech once it has lasted long enough."""
    if state.began is None or state.certain or state.clock - state.began < MIN_SPEECH_MS * SAMPLE_RATE // 1000:
        return state, ()
    moves = () if state.turn else (Began(state.began),)
    return replace(state, certain=True, turn=True), moves


def _weighed(state: State, began: int, length: int, probability: float) -> State:
    """Remember where the segment could best be cut."""
    late = state.clock - began > LONGEST - LONGEST // 3
    if late and probability <= state.faintest[0]:
        return replace(state, faintest=(probability, state.clock - length // 2))
    return state


def _bounded(state: State, rules: Rules) -> tuple[State, tuple[Move, ...]]:
    """Cut a segment that has grown too long; what is behind the cut opens the next one."""
    if state.began is None or state.clock - state.began < LONGEST:
        return state, ()
    at = state.faintest[1]
    ended = Ended(Span(state.start, at), _span(state, rules, at), "length")
    return State(clock=state.clock, start=at, turn=True, began=at, certain=True), (ended,)
