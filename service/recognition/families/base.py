"""The seam between the one decoding loop and what differs from family to family."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from service.audio.types import Samples
from service.backends.base import Features
from service.backends.sequences import Prompt
from service.recognition.tokenizer import Tokenizer
from service.recognition.types import Options, Task

Mask = npt.NDArray[np.float32]
"""[vocabulary]: 0 where a token may be chosen, -inf where not."""


def masking(vocabulary: int, forbidden: Sequence[int]) -> Mask:
    """A mask that forbids these tokens."""
    mask = np.zeros(vocabulary, np.float32)
    mask[list(forbidden)] = -np.inf
    return mask


class Family(Protocol):
    """What a model family knows: its features, its prompt, its special tokens."""

    tokenizer: Tokenizer
    end_token: int
    no_speech_token: int | None
    """The token whose probability at the start says that there is no speech; None if the family has none."""
    first_mask: Mask
    """For the first token of a text."""
    mask: Mask
    languages: tuple[str, ...]
    """Codes the model knows; one if it knows one."""
    first_language_token: int | None
    """The token of `languages[0]`, the others follow it; None if there is nothing to detect."""
    pads: bool
    """Whether it was trained on padded windows, so that `full` makes a difference."""
    max_window_s: float
    """The longest window it takes."""
    target_window_s: float
    """The length that windows are packed to: where it recognises best. Measured: docs/benchmarks.md."""
    position_s: float | None
    """Seconds an encoder position stands for; None if cross-attention cannot be aligned."""

    def features(self, samples: Samples, *, full: bool, waveform: bool = False) -> Features:
        """What the encoder takes of a window; `full` computes all the positions the model was trained on.

        `waveform` leaves the spectrogram to the backend: the values are the samples.

        Safe to call from any thread.
        """
        ...

    def prompt(self, options: Options, *, task: Task, language: str) -> Prompt: ...

    def token_limit(self, duration_s: float) -> int:
        """The most tokens a window of this length may have, prompt not counted."""
        ...
