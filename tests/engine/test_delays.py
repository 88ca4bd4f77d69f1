import pytest

from service.engine.delays import LATELY_S, Delays
from service.engine.types import Priority
from service.engine.work import Ticket


def ticket(priority: Priority = "interactive", *, entered_s: float | None = None) -> Ticket:
    return Ticket("someone", priority, due_s=0.0, entered_s=entered_s)


def heard(delays: Delays, one: Ticket, *, came_s: float, at_s: float, worked_s: float = 0.0) -> None:
    delays.opened(one, came_s)
    delays.heard(one, at_s, speech_s=6.0, worked_s=worked_s)


def test_nobody_waits_where_nobody_is() -> None:
    delays = Delays()
    assert (delays.worst_s(5.0), delays.refused(), delays.offered(5.0)) == (0.0, 0, 0.0)


def test_who_is_heard_waits_until_the_first_window_enters() -> None:
    delays, one = Delays(), ticket()
    heard(delays, one, came_s=10.0, at_s=10.0)
    assert delays.worst_s(10.25) == 0.25
    assert delays.worst_s(11.0) == 1.0
    one.entered_s = 11.125
    assert delays.worst_s(12.0) == 1.125
    assert delays.worst_s(12.25) == 0.0


def test_hearing_is_work_and_waiting_to_be_heard_is_not() -> None:
    delays, one = Delays(), ticket()
    delays.opened(one, 10.0)
    assert delays.worst_s(13.0) == 0.0  # an hour may be on its way
    delays.heard(one, 13.0, speech_s=60.0, worked_s=1.0)
    assert delays.worst_s(13.5) == 2.5


def test_the_longest_wait_counts() -> None:
    delays = Delays()
    for came_s in (12.0, 10.0, 11.0):
        heard(delays, ticket(), came_s=came_s, at_s=12.0, worked_s=0.5)
    assert delays.worst_s(13.0) == 2.5


def test_who_was_served_between_two_looks_counts_once() -> None:
    delays, one = Delays(), ticket()
    heard(delays, one, came_s=10.0, at_s=10.0)
    one.entered_s = 10.5
    delays.closed(one)
    assert (delays.worst_s(11.0), delays.worst_s(11.0)) == (0.5, 0.0)


def test_who_left_before_a_turn_came_does_not_wait_any_more() -> None:
    delays, unheard, waiting = Delays(), ticket(), ticket()
    delays.opened(unheard, 10.0)
    heard(delays, waiting, came_s=10.0, at_s=10.0)
    for one in (unheard, waiting, waiting):
        delays.closed(one)
    assert delays.worst_s(20.0) == 0.0


def test_a_batch_has_time_but_its_audio_comes_all_the_same() -> None:
    delays, one = Delays(), ticket("batch")
    heard(delays, one, came_s=10.0, at_s=10.0)
    delays.turned_away(one, 10.0, audio_s=6.0)
    assert (delays.worst_s(20.0), delays.refused()) == (0.0, 0)
    assert delays.offered(15.0) == 6.0 / LATELY_S


def test_those_turned_away_are_told_once_and_their_audio_counts_once() -> None:
    delays, unheard, known = Delays(), ticket(), ticket()
    delays.opened(unheard, 10.0)
    delays.turned_away(unheard, 10.0, audio_s=30.0)
    heard(delays, known, came_s=10.0, at_s=10.0)
    delays.turned_away(known, 10.0, audio_s=6.0)
    delays.closed(known)
    assert delays.offered(10.0) == pytest.approx(36.0 / LATELY_S)
    assert (delays.refused(), delays.refused()) == (2, 0)
    assert delays.worst_s(11.0) == 0.0


def test_what_came_long_ago_is_not_offered_now() -> None:
    delays = Delays()
    for second in range(30):
        heard(delays, ticket(), came_s=second, at_s=second)
    assert delays.offered(29.5) == 6.0
    assert delays.offered(29 + LATELY_S / 2) == 3.0
    assert delays.offered(29 + LATELY_S) == 0.0


def test_a_ticket_remembers_its_first_entry_alone() -> None:
    one = ticket()
    one.enter()
    first_s = one.entered_s
    one.exit()
    one.enter()
    assert first_s is not None
    assert one.entered_s == first_s
