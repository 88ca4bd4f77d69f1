"""What rows gained since the host last looked, kept on the device until it looks again."""

from dataclasses import dataclass

import numpy as np
import torch

from service.backends.base import Floats
from service.backends.torch.network import Network
from service.backends.torch.texts import Rules

TOKEN, LOGPROB, STATE, NO_SPEECH = range(4)
"""What is noted of a row at each place. Tokens are whole numbers that float32 holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Gained:
    """What one row gained.

    Attributes:
        notes: [1 + stride, 4] what was chosen at the prompt and at each step.
        looks: [steps, alignment heads, length] where each step looked; None where no row is aligned.
    """

    notes: Floats
    looks: torch.Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What all rows gained."""

    notes: Floats
    looks: torch.Tensor | None

    def of(self, slot: int) -> Gained:
        return Gained(self.notes[:, :, slot], None if self.looks is None else self.looks[:, slot])


class Notes:
    """Places 0, the prompt's, to `stride`; a place is written over when it comes again."""

    def __init__(self, network: Network, *, capacity: int, length: int, stride: int) -> None:
        self._device = network.device
        self._notes = torch.zeros((1 + stride, 4, capacity), device=self._device)
        self._host: torch.Tensor | None = None
        self._shape = (stride, capacity, network.sizes.alignment_heads, length)
        self._looks: torch.Tensor | None = None

    def make_looks(self) -> None:
        """Be ready to note where rows look, which most are not asked for; twice does nothing."""
        if self._looks is None:
            halved = torch.float16 if self._device.type == "cuda" else torch.float32
            self._looks = torch.zeros(self._shape, dtype=halved, device=self._device)

    def start(self, first: int, logits: torch.Tensor, rules: Rules) -> None:
        """Note what rows from `first` on hear at the start token, by their logits [rows, vocabulary]."""
        if rules.no_speech_token is not None:
            probability = (logits[:, rules.no_speech_token] - logits.logsumexp(-1)).exp()
            self._notes[0, NO_SPEECH, first : first + len(logits)] = probability

    def write(self, place: int, first: int, chosen: torch.Tensor) -> None:
        """Note what was chosen for rows from `first` on, [3, rows]."""
        self._notes[place, :NO_SPEECH, first : first + chosen.shape[1]] = chosen

    def look(self, place: int, first: int, attention: torch.Tensor) -> None:
        """Note where rows from `first` on look, [rows, alignment heads, length]."""
        if self._looks is not None:
            self._looks[place - 1, first : first + len(attention)] = attention

    def move(self, slot: int, to: int) -> None:
        """Take along what was noted at the prompt and not seen."""
        self._notes[0, :, to] = self._notes[0, :, slot]

    def read(self, rows: int, *, steps: int, looks: bool) -> Seen:
        """Of the first rows, once it is there."""
        seen = self._looks[:steps, :rows].float().cpu() if looks and self._looks is not None else None
        return Seen(np.asarray(self._fetched()), seen)

    def _fetched(self) -> torch.Tensor:
        """Once it is there; a GPU writes it to memory that it reaches by itself."""
        if self._device.type == "cpu":
            return self._notes
        if self._host is None:
            self._host = torch.zeros(self._notes.shape, pin_memory=True)
        self._host.copy_(self._notes, non_blocking=True)
        torch.cuda.current_stream(self._device).synchronize()
        return self._host
