"""A step: a student learns to say what its parent says: what pruning, rounding or fewer layers took from it comes back.

The student is the draft as the steps before left it; the teacher is the base variant, in float32. Weights that are zero
stay zero, if so many are that they were pruned. Matrices that are going to be rounded are rounded while they are
trained (straight-through: Bengio et al., 2013; Jacob et al., 2018).
"""

from typing import Literal

from pydantic import BaseModel, Field

from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.settings import EVERY, STRICT
from model_store.train.settings import Examples, Losses, Optimisation


class Distil(BaseModel):
    """What is trained, and how.

    Attributes:
        layers: patterns of the tensors that are trained.
        frozen: patterns of those of them that are not.
        aware: whether matrices are rounded as they are going to be.
        examples: what the teacher is heard on.
        losses: what is to be alike.
        optimisation: how parameters are moved.
    """

    model_config = STRICT

    step: Literal["distil"]
    layers: tuple[str, ...] = Field(default=EVERY, min_length=1)
    frozen: tuple[str, ...] = ("*embed_*",)
    aware: bool = True
    examples: Examples = Examples()
    losses: Losses = Losses()
    optimisation: Optimisation = Optimisation()


def distil(draft: Draft, settings: Distil, context: Context) -> Draft:
    """The draft after its training.

    Raises:
        CompressionError: there are no recordings to train on, no torch, nothing to train, or it is no Whisper.
    """
    from model_store.train.torch_there import needed  # noqa: PLC0415 - few have it

    needed(settings.step)
    from model_store.train.distillation import trained  # noqa: PLC0415 - it needs torch

    return trained(draft, settings, context)
