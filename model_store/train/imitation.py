"""A student held to what its teacher says: the problem that adaptation, recovery and distillation have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model_store.config import Padding
from model_store.train import losses, network
from model_store.train.bank import Bank, Example, forced, windowed
from model_store.train.network import Looked, Weights, Windows
from model_store.train.settings import Losses

_SHORTEST_S = 0.5
"""What a window costs at least."""


@dataclass(frozen=True, slots=True)
class Imitation:
    """See `model_store.train.loop.Problem`.

    Attributes:
        parameters: what is trained.
        weights: the student's, made of the parameters.
        teacher: the teacher's weights.
        bank: examples.
        bins: of the spectrogram.
        padding: what the student sees of it, by the number of an example.
        mix: how much each difference counts.
    """

    parameters: Mapping[str, Tensor]
    weights: Callable[[], Weights]
    teacher: Weights
    bank: Bank
    bins: int
    padding: Callable[[int], Padding | None]
    mix: Losses

    @property
    def lengths(self) -> Sequence[float]:
        return [max(_SHORTEST_S, one.seconds) for one in self.bank.examples]

    def weight(self, example: int) -> float:
        return len(self.bank.examples[example].tokens) - 1

    def loss(self, examples: Sequence[int]) -> Tensor:
        rows = [self.bank.examples[one] for one in examples]
        sounds = [self.bank.samples(one) for one in rows]
        device = next(iter(self.parameters.values())).device
        windows = windowed(sounds, self.bins, self.padding(examples[0])).to(device)
        tokens = forced([one.tokens for one in rows]).to(device)
        weights, looked = self.weights(), Looked() if self.mix.looks else None
        memory = network.encoded(weights, windows, looked)
        hidden = network.decoded(weights, tokens, memory, windows.log_weights)
        ours = torch.cat([row[: len(one.tokens) - 1] for row, one in zip(hidden, rows, strict=True)])
        theirs = torch.cat([torch.from_numpy(self.bank.states(one)) for one in rows]).to(device)
        found = self._of_tokens(weights, ours, theirs, rows)
        if looked is not None:
            found = found + self._of_layers(windows, looked, rows)
        return found

    def _of_tokens(self, weights: Weights, ours: Tensor, theirs: Tensor, rows: Sequence[Example]) -> Tensor:
        """Where there is no speech the end is wanted, whatever the teacher says there."""
        mix, scores = self.mix, network.logits(weights, ours)
        silent = torch.tensor(_begun(rows), dtype=torch.long, device=ours.device)
        heard = torch.ones(len(ours), dtype=torch.bool, device=ours.device)
        heard[silent] = False
        found = torch.zeros((), device=ours.device)
        if mix.divergence:
            wanted = network.logits(self.teacher, theirs[heard])
            found = found + mix.divergence * losses.divergence(scores[heard], wanted, mix.temperature)
        if mix.closeness:
            found = found + mix.closeness * losses.squared_difference(ours[heard], theirs[heard])
        said = torch.tensor([token for one in rows for token in one.tokens[1:]], device=ours.device)
        if mix.labels:
            found = found + mix.labels * losses.cross_entropy(scores[heard], said[heard], mix.smoothing)
        if len(silent):
            found = found + losses.cross_entropy(scores[silent], said[silent])
        return found

    def _of_layers(self, windows: Windows, looked: Looked, rows: Sequence[Example]) -> Tensor:
        """Of the encoder's layers at the positions that hold speech: student and teacher see these alike."""
        theirs = Looked()
        with torch.no_grad():
            network.encoded(self.teacher, windows, theirs)
        found = torch.zeros((), device=windows.features.device)
        for index, row in enumerate(rows):
            count = min(windows.positions.shape[1], max(1, round(row.seconds * 50)))
            share = (len(row.tokens) - 1) / count
            for ours, wanted in _paired(looked.hidden, theirs.hidden, wanted=bool(self.mix.hidden)):
                one = losses.squared_difference(ours[index, :count], wanted[index, :count])
                found = found + self.mix.hidden * share * one / len(looked.hidden)
            for ours, wanted in _paired(looked.attention, theirs.attention, wanted=bool(self.mix.attention)):
                one = losses.attention_transfer(
                    ours[index : index + 1, :, :count], wanted[index : index + 1, :, :count]
                )
                found = found + self.mix.attention * share * one / len(looked.attention)
        return found


def _begun(rows: Sequence[Example]) -> list[int]:
    """Where, in all rows' tokens one behind the other, the text of one without speech would begin."""
    places, first = [], 0
    for one in rows:
        if one.kind != "speech":
            places.append(first + one.text_from - 1)
        first += len(one.tokens) - 1
    return places


def _paired(ours: Sequence[Tensor], theirs: Sequence[Tensor], *, wanted: bool) -> list[tuple[Tensor, Tensor]]:
    """Each of the student's layers with the teacher's at the same share of the depth (Sun et al., Patient KD, 2019)."""
    if not wanted:
        return []
    step = len(theirs) / len(ours)
    return [(one, theirs[round((index + 1) * step) - 1]) for index, one in enumerate(ours)]
