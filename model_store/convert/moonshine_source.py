"""A Moonshine folder in, as Hugging Face or its makers' wheel has it; its weights and configuration out, in one form.

The weights carry the names of transformers' `MoonshineForConditionalGeneration` less the leading `model.`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.numpy import load_file

from model_store.config import MoonshineConfig
from model_store.convert.graph import Floats
from model_store.convert.moonshine_ort import read_graphs
from model_store.errors import ConversionError

STRIDES = (64, 3, 2)
"""Of the three convolutions; their kernels are in the weights."""

_MAX_POSITIONS = 194
"""Tokens that the decoder was trained on (config.json of UsefulSensors/moonshine-tiny); the ORT files do not say."""


@dataclass(frozen=True, slots=True)
class Rotary:
    """Pair i of a head's first `size` dimensions, neighbours, is turned by position / theta ** (2 i / size)."""

    size: int
    theta: float


@dataclass(frozen=True, slots=True, eq=False)
class MoonshineSource:
    """Weights in float32 by name, what their shapes do not tell, what the service needs, and the tokenizer's file."""

    weights: Mapping[str, Floats]
    encoder_heads: int
    decoder_heads: int
    rotary: Rotary
    config: MoonshineConfig
    tokenizer: Path

    @property
    def facts(self) -> dict[str, str]:
        """What the weights' shapes do not tell; `restored` takes it."""
        return {
            "encoder_heads": str(self.encoder_heads),
            "decoder_heads": str(self.decoder_heads),
            "rotary_size": str(self.rotary.size),
            "rotary_theta": repr(self.rotary.theta),
        }

    @classmethod
    def restored(
        cls, weights: Mapping[str, Floats], config: MoonshineConfig, tokenizer: Path, facts: Mapping[str, str]
    ) -> "MoonshineSource":
        """The source of which `facts` were kept."""
        rotary = Rotary(int(facts["rotary_size"]), float(facts["rotary_theta"]))
        heads = int(facts["encoder_heads"]), int(facts["decoder_heads"])
        return cls(weights, *heads, rotary, config, tokenizer)

    @property
    def width(self) -> int:
        return len(self.weights["decoder.norm.weight"])

    @property
    def encoder_layers(self) -> int:
        return _layers(self.weights, "encoder")

    @property
    def decoder_layers(self) -> int:
        return _layers(self.weights, "decoder")


class _RopeParameters(BaseModel):
    """Where transformers 5 keeps what earlier ones have at the top of config.json."""

    rope_type: str = "default"
    rope_theta: float = 10_000.0
    partial_rotary_factor: float | None = None


class _Facts(BaseModel):
    """What config.json says of the network, with the defaults of transformers' MoonshineConfig."""

    model_config = ConfigDict(extra="ignore")

    model_type: str
    hidden_size: int = 288
    encoder_num_attention_heads: int = 8
    decoder_num_attention_heads: int = 8
    encoder_num_key_value_heads: int | None = None
    decoder_num_key_value_heads: int | None = None
    encoder_hidden_act: str = "gelu"
    decoder_hidden_act: str = "silu"
    attention_bias: bool = False
    tie_word_embeddings: bool = True
    max_position_embeddings: int = 512
    partial_rotary_factor: float = 0.9
    rope_theta: float = 10_000.0
    rope_parameters: _RopeParameters | None = None
    decoder_start_token_id: int = 1
    eos_token_id: int = 2

    def rotary(self) -> Rotary:
        head_size = self.hidden_size // self.encoder_num_attention_heads
        rope = self.rope_parameters or _RopeParameters(rope_theta=self.rope_theta)
        factor = self.partial_rotary_factor if rope.partial_rotary_factor is None else rope.partial_rotary_factor
        return Rotary(size=int(head_size * factor), theta=rope.rope_theta)

    def unsupported(self) -> str | None:
        """What the graphs here do not compute, of all that this configuration asks for."""
        expected = {
            "model_type": "moonshine",
            "encoder_hidden_act": "gelu",
            "decoder_hidden_act": "silu",
            "attention_bias": False,
            "tie_word_embeddings": True,
            "encoder_num_key_value_heads": self.encoder_num_attention_heads,
            "decoder_num_key_value_heads": self.decoder_num_attention_heads,
        }
        for name, value in expected.items():
            found = getattr(self, name)
            if found not in (None, value):
                return f"{name} is {found!r} where only {value!r} is supported"
        if self.rope_parameters is not None and self.rope_parameters.rope_type != "default":
            return f"rope_type is {self.rope_parameters.rope_type!r} where only 'default' is supported"
        return None


def read_huggingface(folder: Path) -> MoonshineSource:
    """A folder with config.json, model.safetensors and tokenizer.json.

    Raises:
        ConversionError: a file is missing, not what it should be, or asks for what the graphs do not compute.
    """
    facts = _read_facts(folder / "config.json")
    path = _existing(folder / "model.safetensors")
    weights = {name.removeprefix("model."): array.astype(np.float32) for name, array in load_file(path).items()}
    missing = [name for name in _REQUIRED if name not in weights]
    if missing:
        raise ConversionError(path, f"it is no Moonshine model: {missing[0]} is missing")
    config = MoonshineConfig(
        vocabulary=len(weights["decoder.embed_tokens.weight"]),
        max_positions=facts.max_position_embeddings,
        start_token=facts.decoder_start_token_id,
        end_token=facts.eos_token_id,
        position_samples=math.prod(STRIDES),
        context_samples=_context_samples(weights),
    )
    return MoonshineSource(
        weights=weights,
        encoder_heads=facts.encoder_num_attention_heads,
        decoder_heads=facts.decoder_num_attention_heads,
        rotary=facts.rotary(),
        config=config,
        tokenizer=_existing(folder / "tokenizer.json"),
    )


def read_ort(folder: Path) -> MoonshineSource:
    """A folder with encoder_model.ort, decoder_model_merged.ort and tokenizer.json: quantised weights, dequantised.

    Raises:
        ConversionError: a file is missing or not what it should be.
    """
    tokenizer = _existing(folder / "tokenizer.json")
    read = read_graphs(_existing(folder / "encoder_model.ort"), _existing(folder / "decoder_model_merged.ort"))
    missing = [name for name in _REQUIRED if name not in read.weights]
    if missing:
        raise ConversionError(folder / "encoder_model.ort", f"it is no Moonshine graph: {missing[0]} is missing")
    config = MoonshineConfig(
        vocabulary=len(read.weights["decoder.embed_tokens.weight"]),
        max_positions=_MAX_POSITIONS,
        start_token=_token(tokenizer, "<s>"),
        end_token=_token(tokenizer, "</s>"),
        position_samples=math.prod(STRIDES),
        context_samples=_context_samples(read.weights),
    )
    return MoonshineSource(
        weights=read.weights,
        encoder_heads=read.heads,
        decoder_heads=read.heads,
        rotary=Rotary(size=2 * len(read.frequencies), theta=_theta(read.frequencies)),
        config=config,
        tokenizer=tokenizer,
    )


_REQUIRED = (
    "encoder.conv1.weight",
    "encoder.groupnorm.weight",
    "encoder.layers.0.self_attn.q_proj.weight",
    "decoder.embed_tokens.weight",
    "decoder.layers.0.encoder_attn.k_proj.weight",
    "decoder.norm.weight",
)


def _context_samples(weights: Mapping[str, Floats]) -> int:
    """The samples behind the first position that it sees too, as whole strides of the first convolution."""
    seen = 1
    for number, stride in reversed(list(enumerate(STRIDES, start=1))):
        seen = (seen - 1) * stride + weights[f"encoder.conv{number}.weight"].shape[2]
    return -(-seen // STRIDES[0]) * STRIDES[0] - math.prod(STRIDES)


def _theta(frequencies: Floats) -> float:
    """The base of the geometric series theta ** (-i / count)."""
    return round(float(frequencies[1]) ** -len(frequencies))


def _layers(weights: Mapping[str, Floats], side: str) -> int:
    return 1 + max(int(name.split(".")[2]) for name in weights if name.startswith(f"{side}.layers."))


def _read_facts(path: Path) -> _Facts:
    try:
        facts = _Facts.model_validate_json(_existing(path).read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ConversionError(path, f"it is no Moonshine configuration: {where}: {fault['msg']}") from error
    if unsupported := facts.unsupported():
        raise ConversionError(path, unsupported)
    return facts


def _token(path: Path, content: str) -> int:
    """The id of a special token of a tokenizer.json."""
    try:
        added = json.loads(path.read_bytes())["added_tokens"]
        return next(int(token["id"]) for token in added if token["content"] == content)
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise ConversionError(path, f"it is no tokenizer with a token {content}") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ConversionError(path, "the file is missing")
    return path
