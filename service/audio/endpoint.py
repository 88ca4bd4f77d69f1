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
"""Silence behind the speech that is recognised with it; a shorter one is no pause. Measured: docs/benchmarks.md, "Live
streams"."""

BREATH = SAMPLE_RATE // 2
"""Sound before the speech and its padding in which the recogniser may look for the beginning of the first word."""

LONG = 6 * SAMPLE_RATE
"""A segment of this length ends in the next short pause, once the turn goes on behind it: to recognise the open one
again and again grows dear, and up to 8 s were heard no better. Measured: the same place."""

LONGEST = 12 * SAMPLE_RATE
"""Who does not pause at all is cut here, where speech was least likely in the last third."""

STILL = SAMPLE_RATE
"""Silence after which a segment ends, though the turn may be meant to last longer: its words need not wait."""

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

    def span(self, rules: Rules, end: int) -> Span | None:
        """What of the open segment is to be recognised, up to this sample; None without speech."""
        return None if self.began is None else Span(self.needed(rules), end)

    def needed(self, rules: Rules) -> int:
        """The first sample that anybody may still ask for."""
        return max(self.start, rules.since, (self.clock if self.began is None else self.began) - rules.lead)


def advance(state: State, probability: float, rules: Rules, *, length: int = CHUNK) -> tuple[State, tuple[Move, ...]]:
    """The next chunk, which is speech with this probability; fewer samples than a chunk before a cut."""
    start, state = state.clock, replace(state, clock=state.clock + length)
    if probability >= rules.threshold:
        return _spoken(state, start, probability, rules)
    if state.began is not None:
        state = _weighed(state, start, probability)
        if state.silent is None and probability < rules.threshold - EXIT_MARGIN:
            state = replace(state, silent=start)
    return _grown(state, rules) if state.silent is None else _hushed(state, state.silent, rules)


def cut(state: State, rules: Rules, why: Literal["asked", "end"]) -> tuple[State, tuple[Move, ...]]:
    """End the segment and the turn here, whatever is being said."""
    span = state.span(rules, state.clock)
    ended = Ended(Span(state.start, state.clock), span, why)
    stop = state.clock if state.silent is None else state.silent
    stopped = (Stopped(stop),) if state.turn else ()
    return State(clock=state.clock, start=state.clock), (*stopped, ended)


def cleared(state: State) -> State:
    """Nothing was said so far."""
    return State(clock=state.clock, start=state.clock)


def _spoken(state: State, start: int, probability: float, rules: Rules) -> tuple[State, tuple[Move, ...]]:
    moved: tuple[Move, ...] = ()
    if state.paused and state.silent is not None and state.began is not None:
        end = state.silent + TAIL
        moved = (Resumed(),)
        if end - state.began >= LONG:
            moved = (Ended(Span(state.start, end), state.span(rules, end), "length"),)
            state = State(clock=state.clock, start=end, turn=True)
    began = start if state.began is None else state.began
    state = _weighed(replace(state, began=began, silent=None, paused=False), start, probability)
    state, moves = _grown(state, rules)
    return state, (*moved, *moves)


def _grown(state: State, rules: Rules) -> tuple[State, tuple[Move, ...]]:
    """The open segment is longer: it may be certain now, or too long."""
    if state.began is None:
        return state, ()
    length = state.clock - state.began
    moves: tuple[Move, ...] = ()
    if not state.certain and length >= MIN_SPEECH_MS * SAMPLE_RATE // 1000:
        moves = () if state.turn else (Began(state.began),)
        state = replace(state, certain=True, turn=True)
    if length < LONGEST:
        return state, moves
    at = state.faintest[1]
    rest = State(clock=state.clock, start=at, turn=True, began=at, certain=True)
    return rest, (*moves, Ended(Span(state.start, at), state.span(rules, at), "length"))


def _hushed(state: State, silent: int, rules: Rules) -> tuple[State, tuple[Move, ...]]:
    """It has been silent for a while: that may be a pause, the end of a long segment, or of the turn."""
    silence = state.clock - silent
    if silence < TAIL:
        return state, ()
    if not state.certain:  # a click, if anything
        state = replace(state, began=None, silent=silent if state.turn else None)
    span, segment = state.span(rules, silent + TAIL), Span(state.start, state.clock)
    if state.turn and silence >= rules.silence:
        return State(clock=state.clock, start=state.clock), (Stopped(silent), Ended(segment, span, "pause"))
    if span is None or state.began is None:
        return state, ()
    if silence >= STILL:
        rest = State(clock=state.clock, start=state.clock, turn=True, silent=silent)
        return rest, (Ended(segment, span, "length"),)
    return (state, ()) if state.paused else (replace(state, paused=True), (Paused(span),))


def _weighed(state: State, start: int, probability: float) -> State:
    """Remember where the segment could best be cut, should it grow too long."""
    late = state.began is not None and state.clock - state.began > LONGEST - LONGEST // 3
    if late and probability <= state.faintest[0]:
        return replace(state, faintest=(probability, (start + state.clock) // 2))
    return state
