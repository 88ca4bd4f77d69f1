"""A draft in; the draft without some of its layers, the others numbered anew, out."""

import fnmatch
from collections.abc import Mapping, Sequence

from model_store.compress.draft import Draft
from model_store.config import ModelConfig, WhisperConfig
from model_store.convert.graph import Floats
from model_store.errors import CompressionError

_SIDES = ("encoder", "decoder")


def without(draft: Draft, patterns: Sequence[str]) -> Draft:
    """Without the layers whose names, such as `encoder.layers.0`, match.

    Raises:
        CompressionError: none matches, or there would be none left, or no head that word times can be read off.
    """
    there = {side: _layers(draft.model.weights, side) for side in _SIDES}
    kept = {side: [name for name in names if not _matches(name, patterns)] for side, names in there.items()}
    if kept == there:
        raise CompressionError("shrink", f"no layer is called {', '.join(patterns)}")
    for side, names in kept.items():
        if not names:
            raise CompressionError("shrink", f"no layer of the {side} would be left")
    new = {old: f"{side}.layers.{place}" for side, names in kept.items() for place, old in enumerate(names)}
    weights: dict[str, Floats] = {}
    for name, weight in draft.model.weights.items():
        layer = ".".join(name.split(".")[:3])
        if layer in new:
            weights[new[layer] + name.removeprefix(layer)] = weight
        elif ".layers." not in name:
            weights[name] = weight
    return draft.having(weights, _realigned(draft.model.config, new))


def _layers(weights: Mapping[str, Floats], side: str) -> list[str]:
    numbers = {int(name.split(".")[2]) for name in weights if name.startswith(f"{side}.layers.")}
    return [f"{side}.layers.{number}" for number in sorted(numbers)]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _realigned(config: ModelConfig, new: Mapping[str, str]) -> ModelConfig:
    """With the heads that word times are read off where they are now, those of lost layers apart."""
    if not isinstance(config, WhisperConfig):
        return config
    places = ((new.get(f"decoder.layers.{layer}"), head) for layer, head in config.alignment_heads)
    pairs = tuple((int(layer.rpartition(".")[2]), head) for layer, head in places if layer is not None)
    if not pairs:
        raise CompressionError("shrink", "no head would be left that word times can be read off")
    return config.model_copy(update={"alignment_heads": pairs})
