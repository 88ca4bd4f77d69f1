"""A step: a smaller student out of its teacher's own layers and neurons, as a start for training."""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field

from model_store.compress.channels import neurons
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.layers import without
from model_store.compress.settings import EVERY, STRICT
from model_store.compress.shrink import narrowed, observed
from model_store.config import WhisperConfig
from model_store.convert.graph import Floats
from model_store.convert.whisper_source import HEAD_SIZE
from model_store.errors import CompressionError

Layers = Annotated[int, Field(ge=1)] | Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


class Student(BaseModel):
    """`encoder_layers` and `decoder_layers`: how many stay, spread over the teacher's, or which; all if not given.

    `neurons` is the share of each feed-forward block's neurons that stay. A `separable` front end has a convolution by
    channel and one across channels in place of each (MobileNets: Howard et al., 2017).
    """

    model_config = STRICT

    step: Literal["student"]
    encoder_layers: Layers | None = None
    decoder_layers: Layers | None = None
    neurons: float = Field(default=1, gt=0, le=1)
    front: Literal["full", "separable"] = "full"


def student(draft: Draft, settings: Student, context: Context) -> Draft:
    """The draft with these layers and the neurons that count most (Shleifer & Rush, 2020; Gandhi et al., 2023).

    Neurons are chosen and refitted by recordings where there are some, else chosen by their weights. Where no head that
    word times are read off is left, they are read off all heads of the upper half of the decoder's layers.

    Raises:
        CompressionError: the model is no Whisper, lacks a layer, or would stay as it is.
    """
    if not isinstance(draft.model.config, WhisperConfig):
        raise CompressionError("student", f"a student of {draft.model.family} cannot be made, only of Whisper")
    encoder = _kept(draft, "encoder", settings.encoder_layers)
    decoder = _kept(draft, "decoder", settings.decoder_layers)
    gone = [
        f"{side}.layers.{layer}"
        for side, kept in (("encoder", encoder), ("decoder", decoder))
        for layer in range(_count(draft, side))
        if layer not in kept
    ]
    found = [(channels, _surplus(channels.units, settings.neurons)) for channels in neurons(draft.model, EVERY)]
    if not gone and not any(count for _, count in found) and settings.front == "full":
        raise CompressionError("student", "it would be as large as its teacher")
    smaller = without(_aligned(draft, draft.model.config, decoder), gone) if gone else draft
    if settings.front == "separable":
        smaller = smaller.having(separated(smaller.model.weights))
    chosen = [(one, _surplus(one.units, settings.neurons)) for one in neurons(smaller.model, EVERY)]
    chosen = [(one, min(count, one.spare_units)) for one, count in chosen if count]
    if not chosen:
        return smaller
    refit: Literal["squares", "none"] = "none" if context.recordings is None else "squares"
    return narrowed(smaller, chosen, observed(smaller, [one for one, _ in chosen], refit, context), refit)


def separated(weights: Mapping[str, Floats]) -> dict[str, Floats]:
    """With each convolution of the front end as two: of each input channel the closest outer product (by SVD).

    Kernels [out, in, 3] become one by channel, [in, 1, 3], and one across channels, [out, in, 1].
    """
    found = dict(weights)
    for name in ("encoder.conv1", "encoder.conv2"):
        kernel = found.pop(f"{name}.weight", None)
        if kernel is None:  # it is separable already
            continue
        across, sizes, along = np.linalg.svd(kernel.transpose(1, 0, 2).astype(np.float64), full_matrices=False)
        found[f"{name}.depthwise.weight"] = along[:, :1].astype(np.float32)
        pointwise = across[:, :, 0] * sizes[:, :1]
        found[f"{name}.pointwise.weight"] = np.ascontiguousarray(pointwise.T[:, :, None]).astype(np.float32)
    return found


def spread(there: int, count: int) -> tuple[int, ...]:
    """So many of the layers, as evenly as can be, with the first and the last; a single one is the first."""
    return tuple(int(layer) for layer in np.linspace(0, there - 1, count).round())


def _kept(draft: Draft, side: str, layers: int | tuple[int, ...] | None) -> tuple[int, ...]:
    there = _count(draft, side)
    if layers is None:
        return tuple(range(there))
    if isinstance(layers, int):
        if layers > there:
            raise CompressionError("student", f"the {side} has {there} layers, not {layers}")
        return spread(there, layers)
    if list(layers) != sorted(set(layers)):
        raise CompressionError("student", f"the {side}'s layers must be in ascending order, each once")
    if layers[-1] >= there:
        raise CompressionError("student", f"the {side} has no layer {layers[-1]}, the last is {there - 1}")
    return layers


def _count(draft: Draft, side: str) -> int:
    return len({name.split(".")[2] for name in draft.model.weights if name.startswith(f"{side}.layers.")})


def _surplus(units: int, share: float) -> int:
    return units - max(1, round(share * units))


def _aligned(draft: Draft, config: WhisperConfig, kept: tuple[int, ...]) -> Draft:
    """With heads, by the teacher's numbers, that are left."""
    if any(layer in kept for layer, _ in config.alignment_heads):
        return draft
    names = {layer: f"decoder.layers.{layer}.encoder_attn.q_proj.weight" for layer in kept[len(kept) // 2 :]}
    sizes = {layer: len(draft.model.weights[name]) // HEAD_SIZE for layer, name in names.items()}
    pairs = tuple((layer, head) for layer, heads in sizes.items() for head in range(heads))
    return draft.having(draft.model.weights, config.model_copy(update={"alignment_heads": pairs}))
