"""What steps that train have in common."""

from typing import Literal

from pydantic import BaseModel, Field

from model_store.compress.settings import STRICT
from model_store.train.augment.settings import Augmentation
from model_store.train.schedule import Schedule


class Examples(BaseModel):
    """What the teacher is heard on.

    Attributes:
        count: cuts of 0.2 s and more, from anywhere in the recordings; one in ten is silence or noise.
        longest_s: no cut is longer.
        min_confidence: the least mean log-probability of a teacher's text that is believed.
        augmentation: what changes the sounds; teacher and student hear the same.
    """

    model_config = STRICT

    count: int = Field(default=1600, ge=1)
    longest_s: float = Field(default=30.0, ge=1, le=30)
    min_confidence: float = Field(default=-1.0, le=0)
    augmentation: Augmentation = Augmentation()


class Losses(BaseModel):
    """How much each difference between student and teacher counts, a token.

    Attributes:
        divergence: of the next tokens.
        temperature: at which they are compared.
        closeness: of the decoder's last hidden states.
        labels: the cross-entropy of the teacher's text.
        smoothing: of these labels.
        hidden: of what the encoder's layers give.
        attention: of what the encoder's layers look at.
    """

    model_config = STRICT

    divergence: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    closeness: float = Field(default=0.1, ge=0)
    labels: float = Field(default=0.0, ge=0)
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    hidden: float = Field(default=0.0, ge=0)
    attention: float = Field(default=0.0, ge=0)

    @property
    def looks(self) -> bool:
        """Whether a loss compares layers."""
        return bool(self.hidden or self.attention)


class Optimisation(BaseModel):
    """How parameters are moved: AdamW (Loshchilov and Hutter, 2019) with a clipped gradient and a changing rate.

    Attributes:
        steps: of the optimiser.
        batch_s: seconds of padded audio in a batch, at most.
        rows: examples in a batch, at most.
        accumulate: batches a step.
        peak: the highest rate.
        warm_up: the share of the steps on which the rate goes up.
        clip: the longest gradient.
        precision: of the products; parameters and sums are in float32.
        checkpoint_every: steps between checkpoints.
        validate_every: steps between measurements of held-out WER; 0 for none.
        patience: measurements without a better one, after which it stops; the best is kept.
    """

    model_config = STRICT

    steps: int = Field(default=1000, ge=1)
    batch_s: float = Field(default=40.0, gt=0)
    rows: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)
    peak: float = Field(default=1e-4, gt=0)
    schedule: Schedule = "one-cycle"
    warm_up: float = Field(default=0.15, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    precision: Literal["bf16", "fp32"] = "bf16"
    checkpoint_every: int = Field(default=100, ge=1)
    validate_every: int = Field(default=0, ge=0)
    patience: int = Field(default=3, ge=1)
