"""A step: Whisper's encoder learns to do without the silence up to 30 s that it was trained to see behind the speech.

The teacher is the model itself with all of its padding. On the teacher's own text, the student's next tokens and last
hidden states are to be the teacher's; the decoder stays as it is. The change is of low rank and kept in a file.
"""

from typing import Literal

from pydantic import BaseModel, Field

from model_store.compress.adapter import adapted, write
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.settings import STRICT
from model_store.config import Padding
from model_store.train.settings import Examples, Losses, Optimisation
from model_store.train.torch_there import needed

FILE_NAME = "adapter.safetensors"


class Adapt(BaseModel):
    """What is computed of the padding, and how that is learnt.

    Attributes:
        padding: computed behind the speech. 12 positions, and 13 that stand for the rest, cost what half a second does.
        rank: of the change of each matrix.
        examples: what the teacher is heard on.
        losses: what is to be alike.
        wide: the share of examples that are padded as before: a window that was not understood is tried so.
        optimisation: how parameters are moved.
    """

    model_config = STRICT

    step: Literal["adapt"]
    padding: Padding = Padding(dense=12, sparse=13)
    rank: int = Field(default=32, ge=1)
    examples: Examples = Examples(min_confidence=-3.0)
    losses: Losses = Losses()
    wide: float = Field(default=0.125, ge=0, le=1)
    optimisation: Optimisation = Optimisation(steps=1200, peak=4e-4)


def adapt(draft: Draft, settings: Adapt, context: Context) -> Draft:
    """The adapted draft; the change lies in the studio's folder as well.

    Raises:
        CompressionError: there are no recordings to train on, no torch, or it is no Whisper.
    """
    needed(settings.step)
    from model_store.train.adaptation import change  # noqa: PLC0415 - it needs torch, which few have
    from model_store.train.lesson import studio_of  # noqa: PLC0415 - the same

    studio = studio_of(draft, context, settings.step)
    found = change(draft, settings, context)
    write(found, studio.folder / FILE_NAME)
    return adapted(draft, found)
