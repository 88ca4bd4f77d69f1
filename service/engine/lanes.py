"""The rows that one executor decodes: batches by recogniser and length, which rows join and leave at any step."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.backends.sequences import Ended, Hypothesis, Job, Sequences
from service.engine.exhaustion import ran_out
from service.engine.forming import lane_length
from service.engine.portions import Portions
from service.engine.profile import Hosted
from service.engine.work import Work

BUCKETS = (640, 1024, 1536)
"""Memory lengths of decode batches: a Whisper window of 9 s, a Moonshine window of 24 s, any window at all."""

POSITION_MS = 0.0005
STEP_MS = 0.9
"""Of a step of tiny.en INT8 on one core: what a position of a row costs, and what a step costs whatever is in it."""

Result = Hypothesis | Exception


@dataclass(slots=True, eq=False)
class Stepped:
    """A step of one batch: how many rows it had, how long it took, and who ended."""

    rows: int
    seconds: float
    ended: list[tuple[Work, Result]]


@dataclass(slots=True, eq=False)
class _Lane:
    batch: Sequences
    works: dict[int, Work] = field(default_factory=dict)

    def took(self, ended: Sequence[Ended]) -> list[tuple[Work, Result]]:
        return [(self.works.pop(id(one.job)), one.result) for one in ended]


class Lanes:
    """Called from the executor's thread. `on_retry` is told of what failed and is tried again with fewer rows."""

    def __init__(self, on_retry: Callable[[Exception], None], portions: Portions) -> None:
        self._on_retry, self._portions = on_retry, portions
        self._lanes: dict[tuple[Hosted, int], _Lane] = {}

    def __len__(self) -> int:
        return sum(len(lane.batch) for lane in self._lanes.values())

    def join(self, works: Sequence[Work]) -> list[Stepped]:
        """Take in works whose ask is a job, and feed their prompts."""
        groups: dict[int, tuple[_Lane, list[tuple[Work, Job]]]] = {}
        refused: list[tuple[Work, Result]] = []
        for work in works:
            if not isinstance(work.ask, Job):
                raise TypeError("only a job joins a decode batch")
            try:
                lane = self._lane(work.hosted, work.ask.memory.length)
            except Exception as error:  # no memory for a batch of that length: others may still be decoded
                refused.append((work, error))
            else:
                groups.setdefault(id(lane), (lane, []))[1].append((work, work.ask))
        return [Stepped(0, 0.0, refused), *(_fed(lane, group) for lane, group in groups.values())]

    def step(self) -> list[Stepped]:
        """A token more for every row."""
        return [_timed(lane, len(lane.batch), lane.batch.step) for lane in self._lanes.values() if len(lane.batch)]

    def drop(self, gone: Callable[[Work], bool]) -> list[Work]:
        """Take out the rows of works that nobody waits for; returns them."""
        dropped = []
        for lane in self._lanes.values():
            for key, work in [(key, work) for key, work in lane.works.items() if gone(work)]:
                if isinstance(work.ask, Job):
                    lane.batch.drop(work.ask)
                del lane.works[key]
                dropped.append(work)
        return dropped

    def clear(self) -> bool:
        """Free the memory of batches without rows; whether there were any."""
        before = len(self._lanes)
        self._lanes = {key: lane for key, lane in self._lanes.items() if len(lane.batch)}
        return len(self._lanes) < before

    def forget(self, hosted: Hosted) -> bool:
        """Free the batches of a variant that have no rows; whether that were all of them."""
        kept = {key: lane for key, lane in self._lanes.items() if key[0] is not hosted or len(lane.batch)}
        self._lanes = kept
        return all(owner is not hosted for owner, _ in kept)

    def _lane(self, hosted: Hosted, needed: int) -> _Lane:
        filled = [length for (owner, length), lane in self._lanes.items() if owner is hosted and len(lane.batch)]
        length = lane_length(needed, filled, BUCKETS, position_ms=POSITION_MS, step_ms=STEP_MS)
        key = (hosted, length)
        if key not in self._lanes:
            self.clear()
            lane = self._opened(hosted, length)
            self._lanes = self._lanes | {key: lane}  # not changed in place: other threads count the rows
        return self._lanes[key]

    def _opened(self, hosted: Hosted, length: int) -> _Lane:
        """With as many rows as there is memory for.

        Raises:
            Exception: not even for one.
        """
        rows = self._portions.rows(hosted)
        recognizer = hosted.recognizer

        def retried(error: Exception) -> None:
            self._on_retry(error)
            if ran_out(error):
                self._portions.halve_rows(hosted, rows)

        try:
            return _Lane(
                recognizer.backend.sequences(recognizer.family, capacity=rows, length=length, on_retry=retried)
            )
        except Exception as error:
            if rows == 1 or not ran_out(error):
                raise
            retried(error)
        return self._opened(hosted, length)


def _fed(lane: _Lane, group: list[tuple[Work, Job]]) -> Stepped:
    lane.works |= {id(job): work for work, job in group}
    return _timed(lane, len(group), lambda: lane.batch.join([job for _, job in group]))


def _timed(lane: _Lane, rows: int, compute: Callable[[], list[Ended]]) -> Stepped:
    started = time.perf_counter()
    ended = compute()
    return Stepped(rows, time.perf_counter() - started, lane.took(ended))
