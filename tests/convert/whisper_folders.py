"""Whisper folders as transformers and CTranslate2 write them, and a small model to put there."""

import json
import shutil
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from model_store.config import WhisperConfig
from model_store.convert.graph import Floats
from model_store.convert.whisper_source import WhisperSource, read_ctranslate2
from tests.convert.originals import original


@cache
def tiny() -> WhisperSource:
    return read_ctranslate2(original("whisper-tiny.en"))


def write_huggingface(folder: Path, model: WhisperSource, *, generation: Mapping[str, object] | None = None) -> None:
    """The folder as transformers writes it (`WhisperForConditionalGeneration.save_pretrained`)."""
    folder.mkdir(exist_ok=True)
    weights = {f"model.{name}": np.ascontiguousarray(array) for name, array in model.weights.items()}
    save_file(weights, folder / "model.safetensors")
    heads = [list(pair) for pair in model.config.alignment_heads]
    facts = {
        "model_type": "whisper",
        "suppress_tokens": list(model.config.suppressed_tokens),
        "begin_suppress_tokens": list(model.config.suppressed_first_tokens),
    }
    (folder / "config.json").write_text(json.dumps(facts))
    (folder / "generation_config.json").write_text(json.dumps({"alignment_heads": heads, **(generation or {})}))
    shutil.copyfile(model.tokenizer, folder / "tokenizer.json")


LEAVES = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}
PLACES = {
    "self_attn_layer_norm": "self_attention/layer_norm",
    "self_attn.out_proj": "self_attention/linear_1",
    "encoder_attn_layer_norm": "attention/layer_norm",
    "encoder_attn.q_proj": "attention/linear_0",
    "encoder_attn.out_proj": "attention/linear_2",
    "final_layer_norm": "ffn/layer_norm",
    "fc1": "ffn/linear_0",
    "fc2": "ffn/linear_1",
}
JOINED = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
}


def write_ctranslate2(folder: Path, model: WhisperSource, *, extra: Mapping[str, Floats] | None = None) -> None:
    """The folder as CTranslate2's converter writes it: projections joined, the key's bias as zeros."""
    folder.mkdir(exist_ok=True)
    variables: dict[str, Floats] = {}
    weights = dict(model.weights)
    for side in ("encoder", "decoder"):
        variables[f"{side}/position_encodings/encodings"] = weights[f"{side}.embed_positions.weight"]
        for leaf in ("weight", "bias"):
            norm = "gamma" if leaf == "weight" else "beta"
            variables[f"{side}/layer_norm/{norm}"] = weights[f"{side}.layer_norm.{leaf}"]
            for layer in range(2):
                ours, theirs = f"{side}.layers.{layer}", f"{side}/layer_{layer}"
                for name, place in PLACES.items():
                    kind = norm if place.endswith("norm") else leaf
                    if f"{ours}.{name}.{leaf}" in weights:
                        variables[f"{theirs}/{place}/{kind}"] = weights[f"{ours}.{name}.{leaf}"]
                for place, parts in JOINED.items():
                    names = [f"{ours}.{part}.{leaf}" for part in parts]
                    if f"{ours}.{parts[-1]}.{leaf}" in weights:
                        pieces = [weights.get(name, np.zeros(model.width, np.float32)) for name in names]
                        variables[f"{theirs}/{place}/{leaf}"] = np.concatenate(pieces)
    for name in ("conv1", "conv2"):
        for leaf in ("weight", "bias"):
            variables[f"encoder/{name}/{leaf}"] = weights[f"encoder.{name}.{leaf}"]
    variables["decoder/embeddings/weight"] = weights["decoder.embed_tokens.weight"]
    (folder / "model.bin").write_bytes(model_bin({**variables, **(extra or {})}))
    facts = {
        "suppress_ids": list(model.config.suppressed_tokens),
        "suppress_ids_begin": list(model.config.suppressed_first_tokens),
        "alignment_heads": [list(pair) for pair in model.config.alignment_heads],
    }
    (folder / "config.json").write_text(json.dumps(facts))
    shutil.copyfile(model.tokenizer, folder / "tokenizer.json")


@cache
def small() -> WhisperSource:
    """Random weights, rounded to what FP16 holds: two layers of two heads on either side."""
    rng, width, inner = np.random.default_rng(1), 128, 96
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.conv1.weight": (width, 80, 3),
        "encoder.conv2.weight": (width, width, 3),
        "encoder.embed_positions.weight": (1500, width),
        "decoder.embed_positions.weight": (448, width),
        "decoder.embed_tokens.weight": (51_864, width),
    }
    shapes |= {f"encoder.{name}.bias": (width,) for name in ("conv1", "conv2")}
    for side, attentions in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "encoder_attn"))):
        shapes |= {f"{side}.layer_norm.{leaf}": (width,) for leaf in ("weight", "bias")}
        for layer in range(2):
            name = f"{side}.layers.{layer}"
            for part in (*(f"{attention}_layer_norm" for attention in attentions), "final_layer_norm"):
                shapes |= {f"{name}.{part}.{leaf}": (width,) for leaf in ("weight", "bias")}
            for attention in attentions:
                parts = [f"{name}.{attention}.{kind}_proj" for kind in ("q", "k", "v", "out")]
                shapes |= {f"{part}.weight": (width, width) for part in parts}
                shapes |= {f"{part}.bias": (width,) for part in parts if not part.endswith("k_proj")}
            shapes |= {f"{name}.fc1.weight": (inner, width), f"{name}.fc1.bias": (inner,)}
            shapes |= {f"{name}.fc2.weight": (width, inner), f"{name}.fc2.bias": (width,)}
    weights = {name: (rng.standard_normal(shape) * 0.1).astype(np.float16) for name, shape in shapes.items()}
    config: WhisperConfig = tiny().config.model_copy(update={"alignment_heads": ((1, 1), (0, 0))})
    return WhisperSource({k: v.astype(np.float32) for k, v in weights.items()}, config, tiny().tokenizer)


KINDS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}

Variables = Mapping[str, npt.NDArray[np.generic]]


def model_bin(variables: Variables, aliases: Mapping[str, str] | None = None) -> bytes:
    """A model.bin as CTranslate2's `model_spec.py` writes it."""
    parts = [struct.pack("<I", 6), _name("WhisperSpec"), struct.pack("<II", 3, len(variables))]
    for name, array in variables.items():
        parts += [_name(name), struct.pack("<B", array.ndim), struct.pack(f"<{array.ndim}I", *array.shape)]
        parts += [struct.pack("<BI", KINDS[array.dtype.name], array.nbytes), array.tobytes()]
    parts.append(struct.pack("<I", len(aliases or {})))
    for alias, target in (aliases or {}).items():
        parts += [_name(alias), _name(target)]
    return b"".join(parts)


def _name(name: str) -> bytes:
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"
