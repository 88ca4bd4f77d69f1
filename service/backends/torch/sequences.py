"""A network in; rows that are decoded together, their tokens chosen on its device, out.

The host says what to do and looks up every `stride` tokens: what each row gained lies in a buffer on the device until
then. Rows have slots in caches that were made once; a step computes the first so many slots, a number that few steps
differ in, so that steps can be recorded. A row that has ended is computed along until the host looks.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from service.backends.sequences import Ended, Job, TokenRules, alike
from service.backends.torch.graphs import Graphs
from service.backends.torch.memory import Slots, unrolled
from service.backends.torch.network import Network
from service.backends.torch.notes import Notes
from service.backends.torch.rows import Row
from service.backends.torch.texts import Rules, Texts

GPU_STRIDE = 8
"""Tokens between two looks of the host at a GPU: it then waits a few milliseconds, and a dozen texts go on."""


@dataclass(frozen=True, slots=True)
class _Step:
    """All that decides what a step computes: under it a step is recorded."""

    rows: int
    span: int
    sampled: bool
    aligned: bool


class TorchSequences:
    """See `service.backends.sequences.Sequences`."""

    def __init__(
        self,
        network: Network,
        rules: TokenRules,
        *,
        capacity: int,
        length: int,
        on_retry: Callable[[Exception], None],
        stride: int | None = None,
    ) -> None:
        """Make room for `capacity` rows of memories up to `length`; `stride` is 1 on a CPU, which nobody waits for."""
        device = network.device
        self._network, self._on_retry, self._gpu = network, on_retry, device.type == "cuda"
        self.capacity, self.stride = capacity, stride or (GPU_STRIDE if self._gpu else 1)
        self._slots = Slots(network, capacity, length)
        self._rules = Rules.on(device, rules)
        self._texts = Texts.empty(capacity, device)
        self._notes = Notes(network, capacity=capacity, length=self._slots.length, stride=self.stride)
        self._graphs = Graphs(device)
        self._running: list[Row] = []
        self._place = 1

    def __len__(self) -> int:
        return len(self._running)

    def join(self, jobs: Sequence[Job]) -> list[Ended]:
        with self._computing():
            return self._join(jobs)

    def step(self) -> list[Ended]:
        with self._computing():
            return self._step()

    def drop(self, job: Job) -> None:
        with self._computing():
            for slot, row in enumerate(self._running):
                if row.job is job:
                    self._slots.clear(slot)
                    self._remove(slot)
                    return

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """What keeps no history, on the device of the rows."""
        with torch.inference_mode(), torch.cuda.device(self._network.device) if self._gpu else nullcontext():
            yield

    def _join(self, jobs: Sequence[Job]) -> list[Ended]:
        first, ended = len(self._running), list[Ended]()
        for job in jobs:
            try:
                self._enter(job)
            except Exception as error:  # it does not fit, or no memory is left: this row's own fault
                ended.append(Ended(job, error))
        entered = self._running[first:]
        while first < len(self._running):
            count = alike([row.job for row in self._running[first:]])
            self._prime(first, count)
            first += count
        if any(not row.job.token_limit for row in entered):
            ended += self._look(steps=0)
        return ended

    def _enter(self, job: Job) -> None:
        """Give a job the next slot.

        Raises:
            ValueError: its prompt and its text are longer than the cache, or its memory than the slots.
        """
        longest, places = len(job.prompt.tokens) + job.token_limit - 1, self._network.sizes.positions
        if longest > places:
            raise ValueError(f"a prompt and a text of {longest} tokens do not fit: the cache holds {places}")
        self._slots.put(len(self._running), job.memory)
        self._texts.begin(len(self._running), job)
        self._running.append(Row(job))

    def _step(self) -> list[Ended]:
        running = self._running
        longest = max((row.reach(self.stride) for row in running), default=0)
        step = _Step(
            self._rounded(len(running)),
            min(unrolled(longest), self._network.sizes.positions),
            sampled=any(row.job.temperature > 0 for row in running),
            aligned=self._looking(running) and self._ready_to_look(),
        )
        self._place = 1
        error = _tried(lambda: self._graphs.run(step, lambda: self._advance(0, step.rows, 1, step)))
        if error is not None:
            self._halve(0, len(running), 1 if self._graphs.replays(step) else self._place, step, error)
        return self._look(steps=self.stride)

    def _looking(self, rows: Sequence[Row]) -> bool:
        return self._network.sizes.alignment_heads > 0 and any(row.job.aligned for row in rows)

    def _ready_to_look(self) -> bool:
        """Whether there is memory for where rows look; those that are to be aligned fail without."""
        error = _tried(self._notes.make_looks)
        if error is not None:
            for slot, row in enumerate(self._running):
                if row.job.aligned:
                    self._fail(slot, error)
        return error is None

    def _prime(self, first: int, count: int) -> None:
        """Feed what is known of some rows that are alike, and choose the token behind it."""
        error = _tried(lambda: self._feed(first, self._running[first : first + count]))
        if error is None:
            return
        if count == 1:
            self._fail(first, error)
            return
        self._on_retry(error)
        half = count // 2
        self._prime(first, half)
        self._prime(first + half, count - half)

    def _feed(self, first: int, rows: Sequence[Row]) -> None:
        job, count, device = rows[0].job, len(rows), self._network.device
        tokens = torch.tensor([row.job.fed for row in rows]).to(device, non_blocking=True)
        texts, end = self._texts.slots(first, count), tokens.shape[1] - 1
        logits, attention = self._network.decode(
            tokens,
            torch.zeros_like(tokens[:, 0]),
            *self._slots.rows(first, count),
            span=min(unrolled(tokens.shape[1]), self._network.sizes.positions),
            wanted=(job.prompt.start, end),
            looks=self._looking(rows),
        )
        for index, row in enumerate(rows):
            row.start(logits[index, 0], None if attention is None else attention[index])
        self._notes.start(first, logits[:, 0], self._rules)
        mask = self._rules.mask if job.given else self._rules.first_mask
        sampled = any(row.job.temperature > 0 for row in rows)
        self._notes.write(0, first, texts.take(logits[:, 1], self._rules, mask=mask, sampled=sampled, fed=False))

    def _advance(self, first: int, count: int, begin: int, step: _Step) -> None:
        """A token for each of some rows at each place from `begin` on; nothing of a place that fails is left."""
        texts, slots = self._texts.slots(first, count), self._slots.rows(first, count)
        for place in range(begin, 1 + self.stride):
            self._place = place
            logits, attention = self._network.decode(
                texts.token[:, None],
                # A row that has ended may stand behind the end of its cache.
                texts.past.clamp(max=self._network.sizes.positions - 1),
                *slots,
                span=step.span,
                wanted=(0,),
                looks=step.aligned,
            )
            if attention is not None:
                self._notes.look(place, first, attention[:, :, 0])
            mask = self._rules.mask
            chosen = texts.take(logits[:, 0], self._rules, mask=mask, sampled=step.sampled, fed=True)
            self._notes.write(place, first, chosen)

    def _halve(self, first: int, count: int, begin: int, step: _Step, error: Exception) -> None:
        """Some rows could not be computed together: compute each half from there on."""
        if count == 1:
            self._fail(first, error)
            return
        self._on_retry(error)
        half = count // 2
        for start, rows in ((first, half), (first + half, count - half)):
            self._place = begin
            again = _tried(partial(self._advance, start, rows, begin, step))
            if again is not None:
                self._halve(start, rows, self._place, step, again)

    def _fail(self, slot: int, error: Exception) -> None:
        self._running[slot].error = error
        self._texts.end(slot)

    def _look(self, *, steps: int) -> list[Ended]:
        """See what the rows have gained, which waits for the device; those that ended leave."""
        aligned = any(row.job.aligned for row in self._running)
        seen = self._notes.read(len(self._running), steps=steps, looks=aligned)
        ended = []
        for slot in reversed(range(len(self._running))):
            row = self._running[slot]
            row.gain(seen.of(slot), steps=steps, rules=self._rules)
            if row.ended:
                ended.append(Ended(row.job, row.result()))
                if row.error is not None:
                    self._slots.clear(slot)
                self._remove(slot)
        return ended

    def _remove(self, slot: int) -> None:
        last = len(self._running) - 1
        if slot != last:
            self._slots.move(last, slot, used=self._running[last].reach(0))
            self._texts.move(last, slot)
            self._notes.move(last, slot)
        self._texts.end(last)
        self._running[slot] = self._running[-1]
        self._running.pop()

    def _rounded(self, rows: int) -> int:
        """On a GPU a power of two, so that few steps differ: the slots behind are computed for nothing."""
        return min(self.capacity, 1 << (rows - 1).bit_length()) if self._gpu else rows


def _tried(compute: Callable[[], None]) -> Exception | None:
    """What goes wrong, whatever a runtime raises: there is no common class. What it computed with is let go."""
    try:
        compute()
    except Exception as error:
        traceback.clear_frames(error.__traceback__)
        return error
    return None
