"""A published size of Whisper in; a variant for torch of that shape, with random weights, out.

For speed and memory where no weights are at hand. What such a model says means nothing, nor when it ends. Its
activations have a variance of about one, so that in FP16 they neither vanish nor overflow.
"""

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from model_store.compress.draft import Draft
from model_store.compress.recipe import shipped
from model_store.compress.run import compressed
from model_store.config import FILE_NAME as CONFIG_FILE
from model_store.config import WhisperConfig
from model_store.convert.graph import Floats
from model_store.convert.model import TOKENIZER_FILE, Model, write
from model_store.convert.whisper_source import HEAD_SIZE

Size = Literal["tiny", "base", "small", "large-v3"]
Shape = tuple[int, ...]

AUDIO_POSITIONS, TEXT_POSITIONS = 1500, 448
ALIGNMENT_HEADS = 10
"""As many as large-v3 and small have (generation_config.json of openai/whisper-large-v3)."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Radford et al., 2022, table 1; large-v3: config.json of openai/whisper-large-v3."""

    layers: int
    width: int
    mel_bins: int = 80
    vocabulary: int = 51_865


SIZES: Mapping[Size, Sizes] = {
    "tiny": Sizes(4, 384),
    "base": Sizes(6, 512),
    "small": Sizes(12, 768),
    "large-v3": Sizes(32, 1280, mel_bins=128, vocabulary=51_866),
}


def random_whisper(size: Size, folder: Path, *, recipe: str, like: Path) -> Path:
    """Writes a model of that size into the new `folder`, by a shipped recipe for torch such as `int8-torch`.

    Args:
        size: whose shapes it has.
        folder: of the variant; it must not be there.
        recipe: without steps that look at recordings.
        like: the folder of a multilingual Whisper's variant, whose tokens and tokenizer it takes.
    """
    return written(random_model(size, like=like), folder, recipe=recipe)


def written(model: Model, folder: Path, *, recipe: str) -> Path:
    """One model in several forms need be made once: for large-v3 that takes half a minute, and 6 GB of memory."""
    asked = shipped(recipe)
    draft = compressed(Draft(model), asked)
    write(draft.model, draft.form, folder, runtime=asked.runtime)
    return folder


def random_model(size: Size, *, like: Path) -> Model:
    """In float32, the same every time."""
    sizes = SIZES[size]
    pairs = [(layer, head) for head in range(sizes.width // HEAD_SIZE) for layer in range(sizes.layers)]
    config = WhisperConfig.model_validate_json((like / CONFIG_FILE).read_bytes()).model_copy(
        update={
            "vocabulary": sizes.vocabulary,
            "mel_bins": sizes.mel_bins,
            "alignment_heads": tuple(pair for pair in pairs if pair[0] >= sizes.layers // 2)[:ALIGNMENT_HEADS],
        }
    )
    weights = {name: _values(name, shape, sizes.layers) for name, shape in shapes(sizes)}
    return Model("whisper", weights, config, like / TOKENIZER_FILE)


def shapes(sizes: Sizes) -> Iterator[tuple[str, Shape]]:
    """Every tensor, under the name that transformers gives it, less the leading `model.`."""
    width = sizes.width
    for name, inputs in (("conv1", sizes.mel_bins), ("conv2", width)):
        yield f"encoder.{name}.weight", (width, inputs, 3)
        yield f"encoder.{name}.bias", (width,)
    yield "encoder.embed_positions.weight", (AUDIO_POSITIONS, width)
    yield "decoder.embed_positions.weight", (TEXT_POSITIONS, width)
    yield "decoder.embed_tokens.weight", (sizes.vocabulary, width)
    for side, attentions in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "encoder_attn"))):
        yield from _norm(f"{side}.layer_norm", width)
        for layer in range(sizes.layers):
            for attention in attentions:
                yield from _attention(f"{side}.layers.{layer}.{attention}", width)
            yield from _feed_forward(f"{side}.layers.{layer}", width)


def _attention(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}_layer_norm", width)
    for kind in ("q", "k", "v", "out"):
        yield f"{name}.{kind}_proj.weight", (width, width)
        if kind != "k":
            yield f"{name}.{kind}_proj.bias", (width,)


def _feed_forward(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}.final_layer_norm", width)
    for part, shape in (("fc1", (4 * width, width)), ("fc2", (width, 4 * width))):
        yield f"{name}.{part}.weight", shape
        yield f"{name}.{part}.bias", shape[:1]


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _values(name: str, shape: Shape, layers: int) -> Floats:
    if name.endswith("layer_norm.weight"):
        return np.ones(shape, np.float32)
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
    values *= np.float32(_deviation(name, shape, layers))
    return values


def _deviation(name: str, shape: Shape, layers: int) -> float:
    """Products of normalised inputs have a variance of about one; what all layers add to a residual, as well."""
    if name.endswith(".bias") or name == "decoder.embed_positions.weight":
        return 0.02
    if name == "encoder.embed_positions.weight":
        return 0.7  # of a sine
    inputs = math.prod(shape[1:])
    added = 3 * layers if name.endswith(("out_proj.weight", "fc2.weight")) else 1
    return 1 / math.sqrt(inputs * added)
