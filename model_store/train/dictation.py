"""A model held to what was said: the problem behind adaptation to a field."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from model_store.config import Padding
from model_store.train import losses, network
from model_store.train.augment.chain import Chain
from model_store.train.augment.masks import masked
from model_store.train.bank import forced, windowed
from model_store.train.corpus import Corpus, Recording
from model_store.train.network import Weights, Windows
from service.audio.types import MAX_WINDOW_S, SAMPLE_RATE, Samples

HEAD = "ctc.weight"
"""The parameter of the CTC head, [characters + 1, width]; the blank is its first row."""

_POSITIONS_PER_S = 50


@dataclass(frozen=True, slots=True)
class Dictated:
    """A recording with what the model is to write: prompt, text and end; `letters` are its characters, by number."""

    recording: Recording
    tokens: tuple[int, ...]
    text_from: int
    letters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dictation:
    """See `model_store.train.loop.Problem`.

    Attributes:
        parameters: what is trained.
        weights: the model's, made of the parameters.
        corpus: where the sounds are.
        examples: with their texts.
        bins: of the spectrogram.
        padding: what the model sees of it.
        smoothing: of the labels.
        ctc: how much the characters count.
        language: how much the token behind the start counts.
        vary: what changes the sounds.
        seed: of it; an example is always changed in the same way.
    """

    parameters: Mapping[str, Tensor]
    weights: Callable[[], Weights]
    corpus: Corpus
    examples: Sequence[Dictated]
    bins: int
    padding: Padding | None
    smoothing: float
    ctc: float
    language: float
    vary: Chain
    seed: int

    @property
    def lengths(self) -> Sequence[float]:
        return [one.recording.seconds for one in self.examples]

    def weight(self, example: int) -> float:
        """The tokens of its text and its end."""
        one = self.examples[example]
        return len(one.tokens) - one.text_from

    def loss(self, examples: Sequence[int]) -> Tensor:
        rows = [self.examples[one] for one in examples]
        device = next(iter(self.parameters.values())).device
        sounds = [self._heard(one) for one in examples]
        windows = self._masked(windowed(sounds, self.bins, self.padding), examples).to(device)
        weights = self.weights()
        memory = network.encoded(weights, windows)
        tokens = forced([one.tokens for one in rows]).to(device)
        hidden = network.decoded(weights, tokens, memory, windows.log_weights)
        texts = [row[one.text_from - 1 : len(one.tokens) - 1] for row, one in zip(hidden, rows, strict=True)]
        said = torch.tensor([token for one in rows for token in one.tokens[one.text_from :]], device=device)
        found = losses.cross_entropy(network.logits(weights, torch.cat(texts)), said, self.smoothing)
        if self.language:
            begun = torch.tensor([one.tokens[1] for one in rows], device=device)
            found = found + self.language * losses.cross_entropy(network.logits(weights, hidden[:, 0]), begun)
        if self.ctc:
            found = found + self.ctc * self._spelled(memory, rows)
        return found

    def _heard(self, example: int) -> Samples:
        recording = self.examples[example].recording
        samples = self.corpus.read(recording, 0, recording.samples)
        return self.vary(samples, np.random.default_rng((self.seed, example)))[: MAX_WINDOW_S * SAMPLE_RATE]

    def _masked(self, windows: Windows, examples: Sequence[int]) -> Windows:
        """With bands and stretches hidden, in place, where the settings say so."""
        for row, example in enumerate(examples):
            frames = round(self.examples[example].recording.seconds * 2 * _POSITIONS_PER_S)
            features = windows.features[row, :, :frames].numpy()
            features[:] = masked(features, self.vary.settings.masks, np.random.default_rng((self.seed, example, 1)))
        return windows

    def _spelled(self, memory: Tensor, rows: Sequence[Dictated]) -> Tensor:
        """Connectionist temporal classification (Graves et al., 2006), summed over the rows."""
        scores = F.linear(memory, self.parameters[HEAD]).float().log_softmax(-1).transpose(0, 1)
        heard = [min(memory.shape[1], max(1, round(one.recording.seconds * _POSITIONS_PER_S))) for one in rows]
        letters = torch.tensor([letter for one in rows for letter in one.letters], device=memory.device)
        counts = torch.tensor([len(one.letters) for one in rows])
        return F.ctc_loss(scores, letters, torch.tensor(heard), counts, reduction="sum", zero_infinity=True)
