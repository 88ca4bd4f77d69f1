"""Items in with who asks, how urgent and how long; whose turn it is out. Not thread-safe: the caller holds a lock.

Among flows, a flow being a client's items of one priority: start-time fair queueing (Goyal, Vin and Cheng, 1996). Each
flow has a virtual time, which grows by cost / weight with every item taken; the flow that is least far goes first. One
that comes starts where the queue is, so idleness saves up nothing and a flood delays none but its sender. Within a
flow: who is due earlier, then who came earlier.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heapreplace
from itertools import count
from typing import Generic, NamedTuple, TypeVar

from service.audio.types import MAX_WINDOW_S
from service.engine.types import Priority

WEIGHTS: dict[Priority, int] = {"live": 64, "interim": 16, "interactive": 8, "batch": 1, "background": 1}
"""Shares of the machine: a client that waits gets eight seconds of audio for one of a client that does not, and who
speaks meanwhile goes before both."""

PATIENCE = 0.1
"""How long a recording lets shorter ones go before it, in its own length. At 1 the 95th percentile of a mix of clips of
2 to 30 s was three times as long, and the median three quarters (docs/benchmarks.md, "Load")."""

LAG_S = MAX_WINDOW_S / min(WEIGHTS.values())
"""The furthest that one window takes a flow ahead of the others, in virtual time."""

T = TypeVar("T")


def due(arrival_s: float, duration_s: float, deadline_s: float | None = None) -> float:
    """When a recording should have its turn, on the clock of `arrival_s`; `deadline_s` counts from the arrival.

    A 3 s clip overtakes a 30-minute file, and a file that has waited a tenth of its length is overtaken no more.
    """
    patience_s = PATIENCE * duration_s
    return arrival_s + (patience_s if deadline_s is None else min(patience_s, deadline_s))


@dataclass(frozen=True, slots=True)
class Place:
    """How an item stands in the queue.

    Attributes:
        client: who asks.
        priority: with the client, the flow that the item is charged to.
        due_s: monotonic clock; who is due earlier goes first among a client's own.
        cost_s: seconds of audio.
    """

    client: str
    priority: Priority
    due_s: float
    cost_s: float

    @property
    def flow(self) -> tuple[str, Priority]:
        return self.client, self.priority


class _Entry(NamedTuple, Generic[T]):
    """An item; entries sort by the first two fields, for numbers are unique."""

    due_s: float
    number: int
    item: T
    place: Place


@dataclass(slots=True, eq=False)
class _Flow(Generic[T]):
    """Items of one client and priority, the next first."""

    weight: int
    virtual_s: float
    entries: list[_Entry[T]] = field(default_factory=list)


class _Turn(NamedTuple, Generic[T]):
    """A flow whose item `at` would be served at this virtual time. Who waits goes before who does not, if equal."""

    virtual_s: float
    rank: int
    due_s: float
    number: int
    flow: _Flow[T]
    at: int


class FairQueue(Generic[T]):
    """What waits for a turn. Items are compared by identity and may be in it once."""

    def __init__(self) -> None:
        self._arrivals = count()
        self._entries: dict[int, _Entry[T]] = {}  # by id(item)
        self._flows: dict[tuple[str, Priority], _Flow[T]] = {}  # those with items
        self._owing_s: dict[
            tuple[str, Priority], float
        ] = {}  # virtual times of empty flows that are ahead of the queue
        self._turns: list[_Turn[T]] = []  # the next of each flow, sorted
        self._weight = 0
        self._virtual_s = 0.0
        self._even_s = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, item: T, place: Place) -> None:
        """Let `item` wait.

        Raises:
            ValueError: it waits already.
        """
        if id(item) in self._entries:
            raise ValueError(f"{item!r} waits already; take or discard it first.")
        entry = _Entry(place.due_s, next(self._arrivals), item, place)
        self._entries[id(item)] = entry
        flow = self._flow(place)
        insort(flow.entries, entry)
        insort(self._turns, _turn(flow))

    def candidates(self, limit: int) -> list[T]:
        """The first `limit` in the order in which they would be served now."""
        turns = self._turns[: max(0, limit)]  # sorted, hence a heap; flows behind these cannot be among the first
        found: list[T] = []
        while turns and len(found) < limit:
            turn = turns[0]
            entry = turn.flow.entries[turn.at]
            found.append(entry.item)
            if turn.at + 1 < len(turn.flow.entries):
                virtual_s = turn.virtual_s + entry.place.cost_s / turn.flow.weight
                heapreplace(turns, _turn(turn.flow, at=turn.at + 1, virtual_s=virtual_s))
            else:
                heappop(turns)
        return found

    def take(self, item: T) -> None:
        """Remove `item`, whose turn has come, and charge its flow.

        Raises:
            KeyError: it does not wait here.
        """
        entry = self._entries[id(item)]
        self._advance(entry.place.cost_s)
        self._remove(entry, charge_s=entry.place.cost_s)

    def discard(self, gone: Callable[[T], bool]) -> list[T]:
        """Remove all that are `gone`, uncharged, and give them back in order of arrival."""
        lost = [entry for entry in self._entries.values() if gone(entry.item)]
        for entry in lost:
            self._remove(entry, charge_s=0.0)
        return [entry.item for entry in lost]

    def _flow(self, place: Place) -> _Flow[T]:
        """The flow of `place`, taken out of the order of turns, new if it has no items."""
        flow = self._flows.get(place.flow)
        if flow:
            self._withdraw(flow)
            return flow
        flow = _Flow[T](WEIGHTS[place.priority], self._start_s(place))
        self._owing_s.pop(place.flow, None)
        self._flows[place.flow] = flow
        self._weight += flow.weight
        return flow

    def _start_s(self, place: Place) -> float:
        return max(self._owing_s.get(place.flow, 0.0), self._virtual_s)

    def _withdraw(self, flow: _Flow[T]) -> None:
        del self._turns[bisect_left(self._turns, _turn(flow))]

    def _advance(self, cost_s: float) -> None:
        """Move the queue's virtual time to where the flow that is least far begins.

        That alone stands still while clients with new names keep coming, and those who are ahead would starve. So it is
        never further than a window behind the time of a queue that serves all flows evenly.
        """
        least_s = self._turns[0].virtual_s
        self._even_s = max(self._even_s, least_s) + cost_s / self._weight
        virtual_s = max(self._virtual_s, least_s, self._even_s - LAG_S)
        if virtual_s > self._virtual_s:
            self._virtual_s = virtual_s
            self._owing_s = {flow: time_s for flow, time_s in self._owing_s.items() if time_s > virtual_s}

    def _remove(self, entry: _Entry[T], *, charge_s: float) -> None:
        flow = self._flows[entry.place.flow]
        self._withdraw(flow)
        del self._entries[id(entry.item)]
        del flow.entries[bisect_left(flow.entries, entry)]
        flow.virtual_s += charge_s / flow.weight
        if flow.entries:
            insort(self._turns, _turn(flow))
        else:
            self._retire(entry.place, flow)

    def _retire(self, place: Place, flow: _Flow[T]) -> None:
        """Forget a flow without items, but for what it had beyond the others while they wait."""
        del self._flows[place.flow]
        self._weight -= flow.weight
        if flow.virtual_s > self._virtual_s:
            self._owing_s[place.flow] = flow.virtual_s
        if not self._entries:  # nobody was made to wait: all are even, and rounding errors end here
            self._owing_s.clear()
            self._virtual_s = self._even_s = 0.0


def _turn(flow: _Flow[T], *, at: int = 0, virtual_s: float | None = None) -> _Turn[T]:
    entry = flow.entries[at]
    start_s = flow.virtual_s if virtual_s is None else virtual_s
    return _Turn(start_s, -flow.weight, entry.due_s, entry.number, flow, at)
