"""What steps may ask for beside their settings: recordings to look at, randomness, and someone to tell."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from model_store.compress.draft import Draft
from model_store.compress.moments import Moments
from model_store.convert.formats import Inputs
from model_store.convert.graph import Floats
from model_store.convert.parameters import Form
from model_store.train.studio import Studio


class Recordings(Protocol):
    """What is known of a model by recordings: the seam behind which `model_store.compress.calibration` runs it."""

    def inputs(self, draft: Draft) -> dict[str, Inputs]:
        """What each matrix is multiplied with, by its name."""
        ...

    def moments(self, draft: Draft, names: Sequence[str]) -> dict[str, Moments]:
        """The means and covariances of what these matrices are multiplied with."""
        ...

    def gradients(self, draft: Draft) -> dict[str, Floats]:
        """How steeply the loss depends on each weight of each matrix, by its name.

        Raises:
            CompressionError: torch is not installed, or does not know the model's family.
        """
        ...

    def divergence(self, draft: Draft, forms: Sequence[Form]) -> list[float]:
        """How far the model's next tokens in each of the forms are from those in float32, in nats a token."""
        ...

    def departure(self, draft: Draft, others: Iterable[Draft]) -> list[float]:
        """How far the next tokens of other drafts are from the draft's, all in float32, in nats a token."""
        ...

    def wer(self, draft: Draft) -> float:
        """The word error rate, in percent, of the draft as it would be written now.

        Raises:
            CompressionError: the recordings have no references.
        """
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """`recordings` is None where none were given to look at, `studio` where none were to train on."""

    recordings: Recordings | None = None
    studio: Studio | None = None
    seed: int = 0
    report: Callable[[str], None] = field(default=lambda _: None)

    @property
    def random(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)
