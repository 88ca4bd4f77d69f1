"""What steps that train have in common."""

from typing import Literal

from pydantic import BaseModel, Field

from model_store.compress.settings import STRICT
from model_store.train.schedule import Schedule


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
