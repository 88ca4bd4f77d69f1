"""Turns and segments of made-up probabilities, a chunk of 32 ms each."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from service.audio.endpoint import (
    BREATH,
    LEAST_SILENCE_MS,
    LONG,
    LONGEST,
    TAIL,
    Began,
    Ended,
    Move,
    Paused,
    Resumed,
    Rules,
    State,
    Stopped,
    advance,
    cleared,
    cut,
)
from service.audio.types import SAMPLE_RATE, Span, VadOptions
from service.audio.vad import CHUNK, MIN_SPEECH_MS

RULES = Rules.of(VadOptions())
LEAST_SPEECH = -(-MIN_SPEECH_MS * SAMPLE_RATE // 1000 // CHUNK)
"""Chunks that are no click."""
TAIL_CHUNKS = -(-TAIL // CHUNK)
PAUSE = -(-RULES.silence // CHUNK)
"""Chunks of silence that end a turn."""
SEEDS = range(30)


@dataclass(frozen=True)
class Told:
    """A move, and how much had been heard by then."""

    move: Move
    clock: int


class Machine:
    """A stream of probabilities, with all that was told of it."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules, self.state = rules, State()
        self.told: list[Told] = []

    def hear(self, *runs: tuple[float, int]) -> "Machine":
        """Each run: a probability, and for how many chunks."""
        for probability, chunks in runs:
            for _ in range(chunks):
                self.advance(probability)
        return self

    def advance(self, probability: float, length: int = CHUNK) -> None:
        self.state, moves = advance(self.state, probability, self.rules, length=length)
        self.note(moves)

    def ask(self) -> "Machine":
        self.state, moves = cut(self.state, self.rules, "asked")
        self.note(moves)
        return self

    def end(self) -> "Machine":
        self.state, moves = cut(self.state, self.rules, "end")
        self.note(moves)
        return self

    def note(self, moves: Iterable[Move]) -> None:
        self.told += [Told(move, self.state.clock) for move in moves]

    @property
    def moves(self) -> list[Move]:
        return [one.move for one in self.told]

    @property
    def ended(self) -> list[Ended]:
        return [move for move in self.moves if isinstance(move, Ended)]

    @property
    def cuts(self) -> list[str]:
        return [ended.cut for ended in self.ended]


def rambling(seed: int, *, asking: bool = True) -> Machine:
    """Two minutes or so of speech, pauses, doubt, clicks and orders in any order, to the end."""
    chance = random.Random(seed)
    vad = VadOptions(True, chance.choice([0.3, 0.5, 0.8]), chance.randrange(0, 900), chance.randrange(0, 1500))
    machine = Machine(Rules.of(vad))
    for _ in range(60):
        level = chance.choice([0.0, 0.05, 0.4, 0.55, 0.95])
        for _ in range(chance.choice([1, 2, 3, 8, 20, 150])):
            machine.advance(min(1.0, max(0.0, chance.gauss(level, 0.05))))
        if asking and chance.random() < 0.1:
            machine.advance(level, chance.randrange(1, CHUNK))
            for _ in range(chance.choice([1, 1, 2])):
                machine.ask()
    return machine.end()


@pytest.mark.parametrize("seed", SEEDS)
def test_segments_lie_end_to_end_and_cover_everything(seed: int) -> None:
    machine = rambling(seed)
    segments = [ended.segment for ended in machine.ended]
    assert segments[0].start == 0
    assert segments[-1].end == machine.state.clock
    assert all(left.end == right.start for left, right in pairwise(segments))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_recognised_lies_within_its_segment(seed: int) -> None:
    for ended in rambling(seed).ended:
        if ended.span is not None:
            assert ended.segment.start <= ended.span.start < ended.span.end <= ended.segment.end


@pytest.mark.parametrize("seed", SEEDS)
def test_beginnings_and_ends_of_turns_alternate(seed: int) -> None:
    turns = [move for move in rambling(seed).moves if isinstance(move, Began | Stopped)]
    assert all(isinstance(turn, (Began, Stopped)[place % 2]) for place, turn in enumerate(turns))
    assert len(turns) % 2 == 0
    ats = [turn.at for turn in turns]
    assert ats == sorted(ats)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_that_is_recognised_is_longer_than_the_longest_with_its_padding_and_a_pause(seed: int) -> None:
    machine = rambling(seed)
    for ended in machine.ended:
        if ended.span is not None:
            assert ended.span.length <= LONGEST + machine.rules.lead + TAIL + 2 * CHUNK


@pytest.mark.parametrize("seed", SEEDS)
def test_pauses_are_told_and_taken_back_in_turn_and_foretell_the_segment(seed: int) -> None:
    foretold: Span | None = None
    for move in rambling(seed).moves:
        match move:
            case Paused(span):
                assert foretold is None
                foretold = span
            case Resumed():
                assert foretold is not None
                foretold = None
            case Ended(_, span, "pause") if foretold is not None:
                assert span == foretold
                foretold = None
            case Ended():
                foretold = None


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_may_still_be_asked_for_is_needed(seed: int) -> None:
    chance = random.Random(seed)
    state = State()
    for _ in range(3000):
        needed = state.needed(RULES)
        state, moves = advance(state, chance.choice([0.0, 0.4, 0.9]) if chance.random() < 0.05 else 0.9, RULES)
        spans = [move.span for move in moves if isinstance(move, Paused | Ended)] + [state.span(RULES, state.clock)]
        assert all(span.start >= needed for span in spans if span is not None)


def test_a_turn_is_told_with_its_first_sample_its_last_and_what_to_recognise() -> None:
    machine = Machine().hear((0.0, 40), (0.9, 50), (0.0, PAUSE))
    begin, stop, span_end = 40 * CHUNK, 90 * CHUNK, 90 * CHUNK + TAIL
    span = Span(begin - RULES.lead, span_end)
    whole = Span(0, (90 + PAUSE) * CHUNK)
    assert machine.moves == [Began(begin), Paused(span), Stopped(stop), Ended(whole, span, "pause")]


def test_what_precedes_the_speech_is_no_more_than_there_is() -> None:
    machine = Machine().hear((0.0, 2), (0.9, 50), (0.0, PAUSE))
    assert machine.ended[0].span == Span(0, 52 * CHUNK + TAIL)


def test_padding_does_not_reach_into_the_segment_before() -> None:
    machine = Machine().hear((0.9, 20)).ask().hear((0.9, 20)).end()
    first, second = machine.ended
    assert first.segment == first.span
    assert second.segment == second.span == Span(20 * CHUNK, 40 * CHUNK)


def test_padding_is_the_callers_and_a_breath() -> None:
    rules = Rules.of(VadOptions(prefix_padding_ms=100))
    assert rules.lead == SAMPLE_RATE // 10 + BREATH


@pytest.mark.parametrize("chunks", range(1, LEAST_SPEECH))
def test_a_click_begins_no_turn(chunks: int) -> None:
    machine = Machine().hear((0.0, 10), (1.0, chunks), (0.0, 100)).end()
    assert machine.moves == [Ended(Span(0, (110 + chunks) * CHUNK), None, "end")]


def test_the_shortest_speech_begins_a_turn() -> None:
    machine = Machine().hear((0.0, 10), (1.0, LEAST_SPEECH), (0.0, PAUSE))
    assert machine.moves[0] == Began(10 * CHUNK)
    assert machine.cuts == ["pause"]


def test_a_click_in_a_pause_ends_no_turn_and_begins_none() -> None:
    machine = Machine().hear((0.9, 20), (0.0, PAUSE), (0.9, 1), (0.0, PAUSE))
    assert [type(move) for move in machine.moves] == [Began, Paused, Stopped, Ended]


def test_a_turn_is_told_as_soon_as_it_is_certain() -> None:
    machine = Machine().hear((0.0, 10), (0.9, 30))
    (began,) = machine.told
    assert began.clock == (10 + LEAST_SPEECH) * CHUNK


def test_speech_goes_on_until_the_probability_falls_below_the_lower_threshold() -> None:
    assert not Machine().hear((0.9, 20), (0.4, 40)).ended
    assert Machine().hear((0.9, 20), (0.34, 40)).ended


def test_speech_does_not_begin_at_the_lower_threshold() -> None:
    assert not Machine().hear((0.49, 200)).moves
    assert Machine().hear((0.5, 200)).moves


def test_doubt_after_silence_is_silence() -> None:
    machine = Machine().hear((0.9, 20), (0.0, 1), (0.4, PAUSE - 1))
    assert machine.cuts == ["pause"]


def test_the_threshold_is_the_callers() -> None:
    assert not Machine(Rules.of(VadOptions(threshold=0.7))).hear((0.6, 50)).moves
    assert Machine(Rules.of(VadOptions(threshold=0.2))).hear((0.3, 50)).moves


@pytest.mark.parametrize("silence_ms", [300, 500, 1000])
def test_a_turn_ends_with_the_chunk_that_makes_its_pause_long_enough(silence_ms: int) -> None:
    rules = Rules.of(VadOptions(silence_duration_ms=silence_ms))
    chunks = -(-silence_ms * SAMPLE_RATE // 1000 // CHUNK)
    assert not Machine(rules).hear((0.9, 20), (0.0, chunks - 1)).ended
    assert Machine(rules).hear((0.9, 20), (0.0, chunks)).cuts == ["pause"]


def test_no_pause_is_taken_shorter_than_the_least() -> None:
    assert Rules.of(VadOptions(silence_duration_ms=10)) == Rules.of(VadOptions(silence_duration_ms=LEAST_SILENCE_MS))


def test_a_pause_is_told_once_and_taken_back_when_speech_goes_on() -> None:
    machine = Machine().hear((0.9, 20), (0.0, TAIL_CHUNKS - 1))
    assert machine.moves == [Began(0)]
    machine.hear((0.0, PAUSE - TAIL_CHUNKS), (0.9, 10))
    assert [type(move) for move in machine.moves] == [Began, Paused, Resumed]


def test_a_long_segment_ends_in_a_short_pause_once_the_turn_goes_on() -> None:
    machine = Machine().hear((0.9, LONG // CHUNK), (0.0, TAIL_CHUNKS))
    assert [type(move) for move in machine.moves] == [Began, Paused]
    machine.hear((0.9, 20))
    (ended,) = machine.ended
    assert (ended.cut, ended.segment.end) == ("length", LONG // CHUNK * CHUNK + TAIL)
    assert machine.moves[1] == Paused(ended.span)  # what was guessed
    machine.hear((0.0, PAUSE))
    assert [type(move) for move in machine.moves[3:]] == [Paused, Stopped, Ended]


def test_a_long_segment_may_be_the_last_of_its_turn() -> None:
    (ended,) = Machine().hear((0.9, LONG // CHUNK), (0.0, PAUSE)).ended
    assert ended.cut == "pause"
    assert ended.span is not None


def test_a_turn_may_end_with_nothing_left_to_recognise() -> None:
    machine = Machine(Rules.of(VadOptions(silence_duration_ms=2000))).hear((0.9, 20), (0.0, 70))
    first, second = machine.ended
    assert (first.cut, second.cut) == ("length", "pause")
    assert second.span is None
    assert Stopped(20 * CHUNK) in machine.moves


def test_who_does_not_pause_is_cut_at_the_longest() -> None:
    chunks = -(-LONGEST // CHUNK)
    assert not Machine().hear((0.9, chunks - 1)).ended
    machine = Machine().hear((0.9, chunks))
    assert machine.cuts == ["length"]
    assert machine.state.turn


@pytest.mark.parametrize("dip", [0.6, 0.4, 0.2, 0.0])
def test_the_cut_is_where_speech_was_least_likely_in_the_last_third(dip: float) -> None:
    place = LONGEST * 5 // 6 // CHUNK
    machine = Machine().hear((0.9, 100), (0.1, 1), (0.9, place - 101), (dip, 1), (0.9, LONGEST // CHUNK - place))
    (ended,) = machine.ended
    assert ended.segment.end == place * CHUNK + CHUNK // 2


def test_what_lies_behind_the_cut_opens_the_next_segment() -> None:
    machine = Machine().hear((0.9, 1000)).end()
    spans = [ended.span for ended in machine.ended if ended.span is not None]
    assert len(spans) > 2
    assert all(left.end == right.start for left, right in pairwise(spans))


@pytest.mark.parametrize("runs", [(), ((0.0, 50),), ((0.9, 1),), ((0.9, 50),), ((0.9, 50), (0.0, 10))])
def test_an_end_can_be_asked_for_at_any_point(runs: tuple[tuple[float, int], ...]) -> None:
    machine = Machine().hear(*runs)
    clock = machine.state.clock
    machine.ask().ask()
    first, second = machine.ended
    assert (first.segment, first.cut) == (Span(0, clock), "asked")
    assert second == Ended(Span(clock, clock), None, "asked")


def test_an_end_at_half_a_chunk_is_at_that_sample() -> None:
    machine = Machine().hear((0.9, 20))
    machine.advance(0.9, 77)
    machine.ask()
    assert machine.ended == [Ended(Span(0, 20 * CHUNK + 77), Span(0, 20 * CHUNK + 77), "asked")]


def test_an_end_that_is_asked_for_ends_the_turn_where_speech_did() -> None:
    assert Stopped(20 * CHUNK) in Machine().hear((0.9, 20), (0.0, 5)).ask().moves
    assert Stopped(25 * CHUNK) in Machine().hear((0.9, 25)).ask().moves
    assert not any(isinstance(move, Stopped) for move in Machine().hear((0.0, 25)).ask().moves)


def test_what_is_cleared_was_never_said() -> None:
    machine = Machine().hear((0.9, 50))
    machine.state = cleared(machine.state)
    machine.hear((0.0, 50)).end()
    assert machine.ended == [Ended(Span(50 * CHUNK, 100 * CHUNK), None, "end")]


def test_rules_that_want_more_padding_get_no_more_than_was_kept() -> None:
    since = 100 * CHUNK - RULES.lead
    rules = Rules(RULES.threshold, 10 * SAMPLE_RATE, RULES.silence, since)
    machine = Machine().hear((0.0, 100))
    machine.rules = rules
    machine.hear((0.9, 50), (0.0, PAUSE))
    (ended,) = machine.ended
    assert ended.span == Span(since, 150 * CHUNK + TAIL)
