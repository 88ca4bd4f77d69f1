"""Whether there is something to commit, without a server."""

from itertools import repeat

from service.api.realtime_appended import Appended
from service.audio.endpoint import Cut
from service.audio.types import RawFormat
from service.engine.streaming import Final

RAW = RawFormat("linear16", 24_000)
SECOND = bytes(48_000)


def final(end_s: float, cut: Cut) -> Final:
    return Final(0, end_s, (), cut)


def test_a_tenth_of_a_second_is_enough_however_it_came() -> None:
    appended = Appended()
    for piece in repeat(SECOND[:960], 4):
        appended.add(piece, RAW)
        assert not appended.enough
    appended.add(SECOND[:960], RAW)
    assert appended.enough


def test_what_was_taken_is_not_there_any_more() -> None:
    appended = Appended()
    appended.add(SECOND, RAW)
    appended.take()
    assert not appended.enough
    appended.add(SECOND, RAW)
    assert appended.enough


def test_the_end_of_a_turn_takes_what_is_before_it() -> None:
    appended = Appended()
    appended.add(SECOND, RAW)
    appended.heard(final(0.5, "length"))
    appended.heard(final(0.6, "pause"))
    assert appended.enough
    appended.heard(final(0.95, "pause"))
    assert not appended.enough


def test_a_final_that_is_late_gives_nothing_back() -> None:
    appended = Appended()
    appended.add(SECOND, RAW)
    appended.take()
    appended.heard(final(0.5, "pause"))
    assert not appended.enough
