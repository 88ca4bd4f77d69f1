"""Weights as they are going to be kept, while they are trained: what a form rounds to, and gradients as if it did not.

Straight-through (Bengio, Léonard and Courville, 2013): the rounding is part of the forward pass alone.
"""

import torch
from torch import Tensor

from model_store.convert.blocks import BLOCK, Blocks
from model_store.convert.formats import Format, Int8Dynamic, Int8Static, Int8Weights
from model_store.convert.torch_tensors import Int8Rows


def rounded(weight: Tensor, form: Format | None) -> Tensor:
    """The weight, with the values that the form has for it; as it is where the form is one of floats or a codebook."""
    match form:
        case Int8Dynamic(per="tensor") | Int8Static(per="tensor"):
            scale = weight.abs().amax() / 127
        case Int8Dynamic() | Int8Static() | Int8Weights() | Int8Rows():
            scale = weight.flatten(1).abs().amax(1).view(-1, *[1] * (weight.ndim - 1)) / 127
        case Blocks():
            return _through(weight, _blocks(weight.detach(), form.bits))
        case _:
            return weight
    step = scale.detach().clamp_min(1e-12)
    return _through(weight, (weight.detach() / step).round() * step)


def _blocks(weight: Tensor, bits: int) -> Tensor:
    """By the largest weight of each block; the search for a better scale in 4 bits is left out."""
    most = (1 << bits - 1) - 1
    short = -weight.shape[1] % BLOCK
    rows = torch.nn.functional.pad(weight, (0, short)).unflatten(1, (-1, BLOCK))
    scale = (rows.abs().amax(2, keepdim=True) / most).half().float().clamp_min(6e-8)
    kept: Tensor = ((rows / scale).round().clamp(-most, most) * scale).flatten(1)
    return kept[:, : weight.shape[1]]


def _through(weight: Tensor, kept: Tensor) -> Tensor:
    return weight + (kept - weight).detach()
