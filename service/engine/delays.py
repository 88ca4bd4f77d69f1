"""Requests come, are heard, enter an executor, leave; how long they wait for their turn and how much comes, out.

A request waits until it is heard, less what hearing it took, and then until its first window is in an executor. Only
those that somebody waits for count: a batch has time.
"""

from collections import deque
from dataclasses import dataclass

from service.engine.types import Priority
from service.engine.work import Ticket

LATELY_S = 10.0
"""What is offered is the mean of so long: less is noise, for a recording comes whole."""


AWAITED: frozenset[Priority] = frozenset({"live", "interactive"})


@dataclass(slots=True, eq=False)
class _Wait:
    arrived_s: float
    heard_s: float | None = None
    unheard_s: float = 0.0

    def seconds(self, ticket: Ticket, now_s: float) -> float:
        """Nothing before it is heard: its hearing may be long, and that is work."""
        if self.heard_s is None:
            return 0.0
        until_s = now_s if ticket.entered_s is None else ticket.entered_s
        return self.unheard_s + max(0.0, until_s - self.heard_s)


class Delays:
    """Used from the event loop; each time is of the monotonic clock."""

    def __init__(self) -> None:
        self._waits: dict[Ticket, _Wait] = {}
        self._ended_s = 0.0
        self._refused = 0
        self._offers: deque[tuple[float, float]] = deque()

    def opened(self, ticket: Ticket, now_s: float) -> None:
        """A request came."""
        if ticket.priority in AWAITED:
            self._waits[ticket] = _Wait(now_s)

    def heard(self, ticket: Ticket, now_s: float, *, speech_s: float, worked_s: float) -> None:
        """Its windows are known: so much speech; of the time since it came, hearing it took `worked_s`."""
        if ticket.priority != "background":  # it comes as fast as it is recognised
            self._offers.append((now_s, speech_s))
        if wait := self._waits.get(ticket):
            wait.heard_s = now_s
            wait.unheard_s = max(0.0, now_s - wait.arrived_s - worked_s)

    def turned_away(self, ticket: Ticket, now_s: float, *, audio_s: float) -> None:
        """It is refused, for too much is waiting."""
        wait = self._waits.pop(ticket, None)
        if wait is None:
            return
        self._refused += 1
        if wait.heard_s is None:
            self._offers.append((now_s, audio_s))

    def closed(self, ticket: Ticket) -> None:
        """It is answered, or nobody wants the answer any more; more than once does no harm."""
        wait = self._waits.pop(ticket, None)
        if wait is not None and ticket.entered_s is not None:
            self._ended_s = max(self._ended_s, wait.seconds(ticket, ticket.entered_s))

    def worst_s(self, now_s: float) -> float:
        """The longest that one waits that waits now, or waited whose turn came since the last call."""
        worst_s = max((wait.seconds(ticket, now_s) for ticket, wait in self._waits.items()), default=0.0)
        worst_s, self._ended_s = max(worst_s, self._ended_s), 0.0
        self._waits = {ticket: wait for ticket, wait in self._waits.items() if ticket.entered_s is None}
        return worst_s

    def refused(self) -> int:
        """How many were turned away since the last call."""
        refused, self._refused = self._refused, 0
        return refused

    def offered(self, now_s: float) -> float:
        """Seconds of audio that came a second lately, that of batches included, and what was turned away."""
        while self._offers and self._offers[0][0] <= now_s - LATELY_S:
            self._offers.popleft()
        return sum(audio_s for _, audio_s in self._offers) / LATELY_S
