"""A network that is a table: what a row says next hangs on its tokens and its memory alone."""

import numpy as np
import torch

from service.backends.base import Floats, Integers, Step
from service.backends.decoding import DecodeBatch
from service.backends.sequences import Job, Memory
from service.backends.torch.memory import Slots, TorchMemory
from service.backends.torch.network import Layers, Sizes

VOCABULARY, END, NO_SPEECH = 40, 39, 38
POSITIONS, LENGTH = 96, 12
_STATES = 61


class TableRules:
    """Three tokens may never be said, five not at first."""

    end_token = END
    no_speech_token = NO_SPEECH

    def __init__(self) -> None:
        self.mask = np.zeros(VOCABULARY, np.float32)
        self.mask[[0, 7, NO_SPEECH]] = -np.inf
        self.first_mask = self.mask.copy()
        self.first_mask[[1, END]] = -np.inf


class TableNetwork:
    """See `service.backends.torch.network.Network`.

    Attributes:
        most: rows that it computes together; of more it runs out of memory.
        poison: memories that it cannot compute at all.
        frail: which of its computations, counted from 0, give logits that cannot be worked with: what comes after it
            fails.
        steps: rows of each computation, in order.
    """

    sizes = Sizes((1,), (1,), 1, POSITIONS, VOCABULARY, 2)
    dtype = torch.float32
    memory_bytes = 0

    def __init__(self, *, ends: float = 0.0, loops: bool = False, device: str = "cpu") -> None:
        random = torch.Generator().manual_seed(5)
        self.device = torch.device(device)
        nothing = torch.full((1, VOCABULARY), float("nan"))  # what a memory gives that is no number
        table = torch.cat((torch.randn((_STATES, VOCABULARY), generator=random), nothing))
        table[:, END] += ends
        self.table = table.to(self.device)
        self.loops = loops
        self.most = 1000
        self.poison: float | None = None
        self.frail: frozenset[int] = frozenset()
        self.steps: list[int] = []

    def encode(self, batch: object) -> Layers:
        raise NotImplementedError

    def decode(
        self, tokens: torch.Tensor, past: torch.Tensor, caches: Layers, cross: Layers, log_weights: torch.Tensor,
        *, span: int, wanted: tuple[int, ...], looks: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
        rows, count = tokens.shape
        self._check(rows, cross)
        places = past[:, None] + torch.arange(count, device=tokens.device)
        caches.keys[0][torch.arange(rows, device=tokens.device)[:, None], 0, places, 0] = tokens.float()
        cached = caches.keys[0][:rows, 0, :span, 0]
        seen = torch.arange(span, device=tokens.device) <= places[:, :, None]
        said = (
            tokens
            if self.loops
            else (cached[:, None] * seen * (torch.arange(span, device=tokens.device) % 7 + 1)).sum(-1)
        )
        memory = cross.values[0][:rows, 0, :1, 0]
        state = ((said + memory) % _STATES).nan_to_num(_STATES).long()
        at = [place % count for place in wanted]
        attention = torch.softmax(log_weights[:rows, None, None].float() - state[:, None, :, None] / 9, -1)
        logits = self.table[state[:, at]]
        if len(self.steps) - 1 in self.frail:
            logits = logits[:1, :1, :1].expand(logits.shape)  # one place in memory for all: it cannot be written over
        return logits, attention.expand(rows, 2, count, -1) if looks else None

    def _check(self, rows: int, cross: Layers) -> None:
        self.steps.append(rows)
        if rows > self.most:
            raise MemoryError("too many rows")
        if self.poison is not None and (cross.values[0][:rows, 0, 0, 0] == self.poison).any():
            raise RuntimeError("a row that cannot be computed")


def memory(number: int, length: int = LENGTH) -> TorchMemory:
    """That of a window, which has a number."""
    log_weights = np.linspace(0, number / 20, length, dtype=np.float32)
    return TorchMemory(Layers((torch.ones(1, length, 1),), (torch.full((1, length, 1), float(number)),)), log_weights)


class TableRows:
    """See `service.backends.base.Rows`: the same network a step at a time."""

    def __init__(self, network: TableNetwork, capacity: int, length: int) -> None:
        self._network, self._slots, self._past = network, Slots(network, capacity, length), list[int]()

    def __len__(self) -> int:
        return len(self._past)

    def join(self, memory: Memory) -> None:
        self._slots.put(len(self), memory)
        self._past.append(0)

    def leave(self, slot: int) -> None:
        last = len(self) - 1
        self._slots.move(last, slot, used=POSITIONS)
        self._past[slot] = self._past[last]
        self._past.pop()

    def step(self, tokens: Integers, *, first: int = 0, wanted: tuple[int, ...] = (-1,)) -> Step:
        rows, count = tokens.shape
        logits, attention = self._network.decode(
            torch.from_numpy(tokens), torch.tensor(self._past[first : first + rows]), *self._slots.rows(first, rows),
            span=POSITIONS, wanted=wanted, looks=True,
        )  # fmt: skip
        self._past[first : first + rows] = [past + count for past in self._past[first : first + rows]]
        assert attention is not None
        return Step(logits.numpy(), _numpy(attention))


def _numpy(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor)


class TableBackend:
    """See `service.backends.base.LogitBackend`."""

    def __init__(self, network: TableNetwork) -> None:
        self._network = network

    def open(self, *, capacity: int, length: int) -> TableRows:
        return TableRows(self._network, capacity, length)


def on_host(network: TableNetwork, job: Job) -> DecodeBatch:
    """A batch whose tokens the host chooses, with one job in it."""

    def raised(error: Exception) -> None:
        raise error

    batch = DecodeBatch(TableBackend(network), TableRules(), capacity=1, length=LENGTH, on_retry=raised)
    batch.join([job])
    return batch
