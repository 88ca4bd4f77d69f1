"""A student held to what its teacher says: the problem that adaptation, recovery and distillation have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model_store.config import Padding
from model_store.train import losses, network
from model_store.train.bank import Bank, forced, windowed
from model_store.train.network import Weights


@dataclass(frozen=True, slots=True)
class Imitation:
    """See `model_store.train.loop.Problem`.

    Attributes:
        parameters: what is trained.
        weights: the student's, made of the parameters.
        teacher: the teacher's, of which the projection to the vocabulary is used.
        bank: examples.
        bins: of the spectrogram.
        padding: what the student sees of it, by the number of an example.
        closeness: how much the squared difference of the last hidden states counts beside the divergence.
    """

    parameters: Mapping[str, Tensor]
    weights: Callable[[], Weights]
    teacher: Weights
    bank: Bank
    bins: int
    padding: Callable[[int], Padding | None]
    closeness: float
    device: torch.device

    @property
    def lengths(self) -> Sequence[float]:
        # No window costs less than half a second.
        return [max(0.5, one.seconds) for one in self.bank.examples]

    def weight(self, example: int) -> float:
        return len(self.bank.examples[example].tokens) - 1

    def loss(self, examples: Sequence[int]) -> Tensor:
        rows = [self.bank.examples[one] for one in examples]
        sounds = [self.bank.samples(one) for one in rows]
        windows = windowed(sounds, self.bins, self.padding(examples[0])).to(self.device)
        tokens = forced([one.tokens for one in rows]).to(self.device)
        weights = self.weights()
        hidden = network.decoded(weights, tokens, network.encoded(weights, windows), windows.log_weights)
        ours = torch.cat([row[: len(one.tokens) - 1] for row, one in zip(hidden, rows, strict=True)])
        theirs = torch.cat([torch.from_numpy(self.bank.states(one)) for one in rows]).to(self.device)
        found = losses.divergence(network.logits(weights, ours), network.logits(self.teacher, theirs))
        if self.closeness:
            found = found + self.closeness * losses.squared_difference(ours, theirs)
        return found
