"""A Whisper folder in, as CTranslate2 or Hugging Face write it; its weights and configuration out, in one form.

The weights carry the names of transformers' `WhisperForConditionalGeneration` less the leading `model.`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from model_store.config import WhisperConfig
from model_store.convert.ctranslate2 import read_variables
from model_store.convert.graph import Floats
from model_store.errors import ConversionError

_FIRST_LANGUAGE = "en"
HEAD_SIZE = 64  # of every Whisper size (Radford et al., 2022, table 1)


@dataclass(frozen=True, slots=True, eq=False)
class WhisperSource:
    """Weights in float32 by name, what the service needs to know of them, and the tokenizer's file."""

    weights: Mapping[str, Floats]
    config: WhisperConfig
    tokenizer: Path

    @property
    def width(self) -> int:
        return int(self.weights["decoder.embed_tokens.weight"].shape[1])

    @property
    def heads(self) -> int:
        return self.width // HEAD_SIZE

    @property
    def encoder_layers(self) -> int:
        return _layers(self.weights, "encoder")

    @property
    def decoder_layers(self) -> int:
        return _layers(self.weights, "decoder")


def read_ctranslate2(folder: Path) -> WhisperSource:
    """A folder with model.bin, config.json and tokenizer.json.

    Raises:
        ConversionError: a file is missing or not what it should be.
    """
    path = _existing(folder / "model.bin")
    variables = read_variables(path)
    if any(name.endswith("/weight_scale") for name in variables):
        raise ConversionError(path, "its weights are quantised; convert the original to float16 or float32 instead")
    weights: dict[str, Floats] = {}
    for name, array in variables.items():
        for ours, piece in _renamed(name, np.asarray(array)):
            weights[ours] = piece.astype(np.float32)
    facts = _read_json(folder / "config.json")
    settings = _Settings(
        alignment_heads=_pairs(facts.get("alignment_heads")),
        suppressed=_integers(facts.get("suppress_ids")),
        suppressed_first=_integers(facts.get("suppress_ids_begin")),
    )
    return _source(path, weights, folder / "tokenizer.json", settings)


def read_huggingface(folder: Path) -> WhisperSource:
    """A folder with config.json, model.safetensors and tokenizer.json; generation_config.json is used if it is there.

    Raises:
        ConversionError: a file is missing or not what it should be.
    """
    path = _existing(folder / "model.safetensors")
    weights = {name.removeprefix("model."): array.astype(np.float32) for name, array in _tensors(path).items()}
    facts = _read_json(folder / "config.json")
    if (folder / "generation_config.json").exists():
        facts |= _read_json(folder / "generation_config.json")
    settings = _Settings(
        alignment_heads=_pairs(facts.get("alignment_heads")),
        suppressed=_integers(facts.get("suppress_tokens")),
        suppressed_first=_integers(facts.get("begin_suppress_tokens")),
    )
    return _source(path, weights, folder / "tokenizer.json", settings)


def _tensors(path: Path) -> Mapping[str, Floats]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ConversionError(path, f"it is no safetensors file, or is cut ({error})") from error


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the two formats keep beside the weights, under different names."""

    alignment_heads: tuple[tuple[int, int], ...]
    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]


_CT2_BLOCKS = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "attention/linear_0": "encoder_attn.q_proj",
    "attention/linear_2": "encoder_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
_CT2_JOINED = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
}
_CT2_LEAVES = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}
_CT2_TOP = {
    "encoder/conv1": "encoder.conv1",
    "encoder/conv2": "encoder.conv2",
    "encoder/layer_norm": "encoder.layer_norm",
    "decoder/layer_norm": "decoder.layer_norm",
    "decoder/embeddings": "decoder.embed_tokens",
}


def _renamed(name: str, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Iterator[tuple[str, Floats]]:
    """The variable under our names; joined projections are taken apart; what is no weight yields nothing."""
    stem, _, leaf = name.rpartition("/")
    if leaf == "encodings":
        yield f"{stem.split('/')[0]}.embed_positions.weight", array.astype(np.float32)
        return
    if leaf not in _CT2_LEAVES:
        return
    if stem in _CT2_TOP:
        yield f"{_CT2_TOP[stem]}.{_CT2_LEAVES[leaf]}", array.astype(np.float32)
        return
    side, layer, *rest = stem.split("/")
    block, prefix = "/".join(rest), f"{side}.layers.{layer.removeprefix('layer_')}"
    if block in _CT2_BLOCKS:
        yield f"{prefix}.{_CT2_BLOCKS[block]}.{_CT2_LEAVES[leaf]}", array.astype(np.float32)
    parts = _CT2_JOINED.get(block, ())
    for part, piece in zip(parts, np.split(array, max(1, len(parts))), strict=False):
        yield f"{prefix}.{part}.{_CT2_LEAVES[leaf]}", piece.astype(np.float32)


def _source(path: Path, weights: dict[str, Floats], tokenizer: Path, settings: _Settings) -> WhisperSource:
    missing = next((name for name in _required(weights) if name not in weights), None)
    if missing is not None:
        raise ConversionError(path, f"it is no Whisper model: {missing} is missing")
    # No more than these: sources differ in what else they carry, such as a key's bias of zeros.
    weights = {name: weights[name] for name in _required(weights)}
    tokens = _special_tokens(tokenizer)
    vocabulary = len(weights["decoder.embed_tokens.weight"])
    multilingual = vocabulary >= tokens["<|notimestamps|>"] + 1502 and tokens["<|endoftext|>"] != _ENGLISH_END
    languages = _languages(tokens) if multilingual else (_FIRST_LANGUAGE,)
    layers, heads = _layers(weights, "decoder"), weights["decoder.embed_tokens.weight"].shape[1] // HEAD_SIZE
    # Without a list: every head of the upper half of the layers (whisper, `model.py`, `alignment_heads`).
    upper = tuple((layer, head) for layer in range(layers // 2, layers) for head in range(heads))
    config = WhisperConfig(
        vocabulary=vocabulary,
        max_positions=len(weights["decoder.embed_positions.weight"]),
        end_token=tokens["<|endoftext|>"],
        mel_bins=weights["encoder.conv1.weight"].shape[1],
        start_token=tokens["<|startoftranscript|>"],
        first_language_token=tokens["<|startoftranscript|>"] + 1 if multilingual else None,
        languages=languages,
        translate_token=tokens["<|translate|>"] if multilingual else None,
        transcribe_token=tokens["<|transcribe|>"] if multilingual else None,
        previous_token=tokens["<|startofprev|>"],
        no_speech_token=tokens["<|notimestamps|>"] - 1,
        no_timestamps_token=tokens["<|notimestamps|>"],
        first_timestamp_token=tokens["<|notimestamps|>"] + 1,
        suppressed_tokens=settings.suppressed,
        suppressed_first_tokens=settings.suppressed_first,
        alignment_heads=settings.alignment_heads or upper,
    )
    return WhisperSource(weights, config, tokenizer)


_TOP = (
    *(f"encoder.{name}.{leaf}" for name in ("conv1", "conv2", "layer_norm") for leaf in ("weight", "bias")),
    *(f"{side}.embed_positions.weight" for side in ("encoder", "decoder")),
    *(f"decoder.{name}" for name in ("embed_tokens.weight", "layer_norm.weight", "layer_norm.bias")),
    *(f"{side}.layers.0.fc1.weight" for side in ("encoder", "decoder")),
)
_ATTENTIONS = {"encoder": ("self_attn",), "decoder": ("self_attn", "encoder_attn")}


def _required(weights: Mapping[str, Floats]) -> Iterator[str]:
    """Every name that the graphs read; those of the layers come once it is sure that there are layers."""
    yield from _TOP
    for side, attentions in _ATTENTIONS.items():
        projections = (f"{name}.{kind}_proj" for name in attentions for kind in ("q", "k", "v", "out"))
        norms = (f"{name}_layer_norm" for name in (*attentions, "final"))
        parts = (*projections, *norms, "fc1", "fc2")
        for layer in range(_layers(weights, side)):
            for part in parts:
                yield f"{side}.layers.{layer}.{part}.weight"
                if not part.endswith("k_proj"):
                    yield f"{side}.layers.{layer}.{part}.bias"


_ENGLISH_END = 50256  # the English-only tokenizer is GPT-2's; in the multilingual one it is 50257


def _languages(tokens: Mapping[str, int]) -> tuple[str, ...]:
    """Codes in the order of their tokens, which stand between the start of transcript and the task tokens."""
    first, last = tokens["<|startoftranscript|>"] + 1, tokens["<|translate|>"]
    by_id = {number: text for text, number in tokens.items()}
    return tuple(by_id[number].strip("<|>") for number in range(first, last))


def _special_tokens(path: Path) -> dict[str, int]:
    added = _read_json(path).get("added_tokens")
    tokens = {token["content"]: token["id"] for token in added} if isinstance(added, list) else {}
    for name in ("<|endoftext|>", "<|startoftranscript|>", "<|translate|>", "<|startofprev|>", "<|notimestamps|>"):
        if name not in tokens:
            raise ConversionError(path, f"the token {name} is missing")
    return tokens


def _layers(weights: Mapping[str, Floats], side: str) -> int:
    return 1 + max(int(name.split(".")[2]) for name in weights if name.startswith(f"{side}.layers."))


def _read_json(path: Path) -> dict[str, object]:
    content = _existing(path).read_bytes()
    try:
        facts = json.loads(content)
    except ValueError as error:
        raise ConversionError(path, "it is not JSON") from error
    if not isinstance(facts, dict):
        raise ConversionError(path, "it is not a JSON object")
    return facts


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ConversionError(path, "the file is missing")
    return path


def _integers(value: object) -> tuple[int, ...]:
    return tuple(int(number) for number in value if int(number) >= 0) if isinstance(value, list) else ()


def _pairs(value: object) -> tuple[tuple[int, int], ...]:
    return tuple((int(layer), int(head)) for layer, head in value) if isinstance(value, list) else ()
