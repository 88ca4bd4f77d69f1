"""A step: a model learns a field, its words and its voices, from recordings with their texts.

By low-rank changes of its matrices (LoRA: Hu et al., 2022) or of all weights. Beside the next tokens the encoder may be
held to the characters (a CTC head, Kim, Hori and Watanabe, 2017, which is dropped afterwards), and the start to the
language.
"""

from typing import Literal

from pydantic import BaseModel, Field

from model_store.compress.adapter import write
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.settings import EVERY, STRICT
from model_store.train.adapt import FILE_NAME
from model_store.train.augment.settings import Augmentation
from model_store.train.settings import Optimisation
from model_store.train.torch_there import needed


class Tune(BaseModel):
    """What is trained, and how.

    Attributes:
        rank: of the change of each matrix; 0 trains all weights.
        layers: patterns of the tensors that are trained.
        frozen: patterns of those of them that are not.
        case: whether texts are learnt as they are written or in small letters; references in capitals teach capitals.
        smoothing: of the labels.
        ctc: how much the characters count that the encoder alone is to tell.
        language: how much the language counts that is to be told at the start; of multilingual models.
        copies: of each recording, each changed by the augmentation in another way.
        augmentation: what changes the sounds.
        optimisation: how parameters are moved.
    """

    model_config = STRICT

    step: Literal["tune"]
    rank: int = Field(default=16, ge=0)
    layers: tuple[str, ...] = Field(default=EVERY, min_length=1)
    frozen: tuple[str, ...] = ("*embed_*", "*.conv*")
    case: Literal["kept", "lower"] = "kept"
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    ctc: float = Field(default=0.0, ge=0)
    language: float = Field(default=0.0, ge=0)
    copies: int = Field(default=1, ge=1)
    augmentation: Augmentation = Augmentation()
    optimisation: Optimisation = Optimisation(peak=2e-4, schedule="cosine")


def tune(draft: Draft, settings: Tune, context: Context) -> Draft:
    """The draft after its training; a low-rank change lies in the studio's folder as well.

    Raises:
        CompressionError: there are no recordings with texts, no torch, nothing to train, or it is no Whisper.
    """
    needed(settings.step)
    from model_store.train.lesson import studio_of  # noqa: PLC0415 - it needs torch, which few have
    from model_store.train.tuning import trained  # noqa: PLC0415 - the same

    studio = studio_of(draft, context, settings.step)
    tuned, change = trained(draft, settings, context)
    if change is not None:
        write(change, studio.folder / FILE_NAME)
    return tuned
