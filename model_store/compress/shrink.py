"""A step: heads, neurons and layers go as a whole, so that matrices shrink and time with them. Nothing is trained."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from model_store.compress.channels import Channels, heads, neurons
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.fit import Fit, Refit, fit
from model_store.compress.layers import without
from model_store.compress.moments import Moments
from model_store.compress.settings import EVERY, STRICT
from model_store.config import ModelConfig, WhisperConfig
from model_store.convert.model import Model
from model_store.errors import CompressionError


class Shrink(BaseModel):
    """Takes out `layers`, patterns of names; then, of each of the `blocks` that are left, a share of heads or neurons.

    A layer is called `encoder.layers.0`, its blocks `encoder.layers.0.self_attn`, `.encoder_attn`, and `.fc` with the
    neurons (`.mlp.fc` in Moonshine). Heads that word times are read off stay, and so does one of each attention.
    """

    model_config = STRICT

    step: Literal["shrink"]
    heads: float = Field(default=0, ge=0, lt=1)
    neurons: float = Field(default=0, ge=0, lt=1)
    layers: tuple[str, ...] = ()
    blocks: tuple[str, ...] = Field(default=EVERY, min_length=1)
    refit: Refit = "squares"


def shrink(draft: Draft, settings: Shrink, context: Context) -> Draft:
    """The draft with less in it.

    Without recordings an input is taken to be as large as the weights that make it, and nothing can be refitted.

    Raises:
        CompressionError: nothing matches, no layer or alignment head would be left, recordings are wanted and there are
            none, or the family's heads cannot differ.
    """
    if settings.heads and draft.model.family != "whisper":
        raise CompressionError("shrink", f"all layers of {draft.model.family} have the same heads; take out neurons")
    draft = without(draft, settings.layers) if settings.layers else draft
    chosen = list(_chosen(draft.model, settings))
    if not chosen and not settings.layers:
        raise CompressionError("shrink", f"it takes out nothing of {', '.join(settings.blocks)}")
    seen = observed(draft, [channels for channels, _ in chosen], settings.refit, context)
    return narrowed(draft, chosen, seen, settings.refit)


def narrowed(draft: Draft, chosen: Sequence[tuple[Channels, int]], seen: Mapping[str, Moments], refit: Refit) -> Draft:
    """Without so many units of each block; `seen` by the block's name."""
    weights, config = dict(draft.model.weights), draft.model.config
    for channels, count in chosen:
        behind, bias = f"{channels.behind}.weight", f"{channels.behind}.bias"
        fitted = fit(channels, weights[behind], seen[channels.name], count=count, refit=refit)
        weights |= channels.before_without(weights, fitted.kept)
        weights[behind] = fitted.weight
        if bias in weights:
            weights[bias] = weights[bias] + fitted.bias
        config = _renumbered(config, channels, fitted)
    return draft.having(weights, config)


def _chosen(model: Model, settings: Shrink) -> Iterator[tuple[Channels, int]]:
    """The blocks that lose units, and how many."""
    for share, found in ((settings.heads, heads), (settings.neurons, neurons)):
        for channels in found(model, settings.blocks):
            count = min(round(share * channels.units), channels.spare_units)
            if count:
                yield channels, count


def observed(draft: Draft, chosen: Sequence[Channels], refit: Refit, context: Context) -> dict[str, Moments]:
    """What the layers behind are multiplied with, by the name of the block.

    Raises:
        CompressionError: there are no recordings to refit by.
    """
    if context.recordings is not None:
        found = context.recordings.moments(draft, [f"{one.behind}.weight" for one in chosen])
        return {one.name: found[f"{one.behind}.weight"] for one in chosen}
    if refit != "none":
        raise CompressionError(
            "shrink", f"refit = {refit!r} needs recordings: give a folder of them (--calibration DIR)"
        )
    return {one.name: _guessed(draft.model, one) for one in chosen}


def _guessed(model: Model, channels: Channels) -> Moments:
    """Of inputs that have nothing to do with each other and are as large as the weights that make them."""
    makers = model.weights[f"{channels.before[-1]}.weight"]
    squares = np.square(makers.astype(np.float64)).sum(axis=1).reshape(-1, channels.size * channels.units).sum(axis=0)
    return Moments(np.zeros(len(squares)), np.diag(squares))


def _renumbered(config: ModelConfig, channels: Channels, fitted: Fit) -> ModelConfig:
    """With the heads that word times are read off where they are now."""
    attention = channels.name.removeprefix("decoder.layers.")
    if not isinstance(config, WhisperConfig) or not attention.endswith(".encoder_attn"):
        return config
    layer = int(attention.split(".")[0])
    places = {int(head): place for place, head in enumerate(fitted.kept)}
    pairs = tuple((at, places[head] if at == layer else head) for at, head in config.alignment_heads)
    return config.model_copy(update={"alignment_heads": pairs})
