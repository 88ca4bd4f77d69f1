"""A step: matrices in fewer bits. The forms themselves, with their sources, are in `model_store.convert`."""

from dataclasses import replace
from typing import Literal, get_args

from pydantic import BaseModel, Field

from model_store.compress.context import Context
from model_store.compress.draft import Draft, matched
from model_store.compress.settings import EVERY, STRICT
from model_store.convert.blocks import Blocks
from model_store.convert.codebook import Codebook
from model_store.convert.formats import Float, Format, Int8Dynamic, Int8Static, Int8Weights
from model_store.convert.torch_tensors import BFloat16, Int8Rows
from model_store.errors import CompressionError

FormName = Literal[
    "fp32",
    "fp16",
    "bf16",
    "int8",
    "int8-tensor",
    "int8-static",
    "int8-static-tensor",
    "int8-blocks",
    "int8-weights",
    "int8-rows",
    "int8-rows-weights",
    "int4",
    "int4-weights",
    "codebook8",
    "codebook4",
]

FORMS: dict[FormName, Format] = {
    "fp32": Float(32),
    "fp16": Float(16),
    "bf16": BFloat16(),
    "int8": Int8Dynamic("channel"),
    "int8-tensor": Int8Dynamic("tensor"),
    "int8-static": Int8Static("channel"),
    "int8-static-tensor": Int8Static("tensor"),
    "int8-blocks": Blocks(8, "int8"),
    "int8-weights": Int8Weights(),
    "int8-rows": Int8Rows("int8"),
    "int8-rows-weights": Int8Rows("float"),
    "int4": Blocks(4, "int8"),
    "int4-weights": Blocks(4, "float32"),
    "codebook8": Codebook(8),
    "codebook4": Codebook(4),
}
assert set(FORMS) == set(get_args(FormName))

CALIBRATED = frozenset({"int8-static", "int8-static-tensor", "int4", "int4-weights"})
"""What looks at the inputs of a layer: a static form must, four bits round better."""


class Quantise(BaseModel):
    """Puts the matrices of `layers`, patterns of names, into `form`, those apart that cannot be in it.

    Four bits are rounded with an eye on the layers' inputs where recordings are given; a static form must have some.
    """

    model_config = STRICT

    step: Literal["quantise"]
    form: FormName
    layers: tuple[str, ...] = Field(default=EVERY, min_length=1)


def quantise(draft: Draft, settings: Quantise, context: Context) -> Draft:
    """The draft with those matrices in that form.

    Raises:
        CompressionError: a static form was asked for, and there are no recordings; or a pattern matches nothing.
    """
    form = FORMS[settings.form]
    formed = draft.formed(matched("quantise", draft.model, settings.layers, form.places), form)
    if context.recordings is not None and settings.form in CALIBRATED:
        return replace(formed, form=replace(formed.form, inputs=context.recordings.inputs(draft)))
    if isinstance(form, Int8Static):
        raise CompressionError(
            "quantise", f"{settings.form} needs recordings: give a folder of them (--calibration DIR)"
        )
    return formed
