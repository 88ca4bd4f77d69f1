"""What a layer computes in between, in units that can be taken out: the heads of an attention, the neurons behind it.

A unit is rows of the matrices before it and columns of the one behind it. All go at once, so the matrices shrink.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.config import WhisperConfig
from model_store.convert.graph import Floats
from model_store.convert.model import Model
from model_store.convert.whisper_source import HEAD_SIZE

Weights = Mapping[str, Floats]
Units = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Channels:
    """One attention's heads, or one feed-forward's neurons.

    Attributes:
        name: of the attention or feed-forward, such as `decoder.layers.1.encoder_attn` or `encoder.layers.0.fc`.
        before: the layers whose outputs they are; several times as many outputs if they hold several of each.
        behind: the layer that takes them in.
        size: channels of a unit.
        units: how many there are.
        spared: units that must stay.
    """

    name: str
    before: tuple[str, ...]
    behind: str
    size: int
    units: int
    spared: frozenset[int] = frozenset()

    @property
    def spare_units(self) -> int:
        """How many can go, for one at least must stay."""
        return self.units - max(1, len(self.spared))

    def inputs(self, kept: Units) -> Units:
        """The channels of these units."""
        return (kept[:, None] * self.size + np.arange(self.size)).ravel()

    def before_without(self, weights: Weights, kept: Units) -> dict[str, Floats]:
        """The tensors of the layers before, with only the `kept` units."""
        changed: dict[str, Floats] = {}
        for name in (f"{layer}.{leaf}" for layer in self.before for leaf in ("weight", "bias")):
            if name in weights:
                inner = weights[name].shape[1:]
                several = weights[name].reshape(-1, self.size * self.units, *inner)
                changed[name] = several[:, self.inputs(kept)].reshape(-1, *inner)
        return changed


def neurons(model: Model, patterns: Sequence[str]) -> Iterator[Channels]:
    """Of each feed-forward whose name, such as `encoder.layers.0.fc`, matches."""
    for behind in _layers(model, "fc2"):
        stem = behind.removesuffix("2")
        if _matches(stem, patterns):
            units = model.weights[f"{behind}.weight"].shape[1]
            yield Channels(stem, (f"{stem}1",), behind, 1, units)


def heads(model: Model, patterns: Sequence[str]) -> Iterator[Channels]:
    """Of each of Whisper's attentions whose name, such as `decoder.layers.1.encoder_attn`, matches."""
    for behind in _layers(model, "out_proj"):
        name = behind.removesuffix(".out_proj")
        if _matches(name, patterns):
            units = model.weights[f"{behind}.weight"].shape[1] // HEAD_SIZE
            before = tuple(f"{name}.{kind}_proj" for kind in "qkv")
            yield Channels(name, before, behind, HEAD_SIZE, units, _aligning(model, name))


def _layers(model: Model, leaf: str) -> Iterator[str]:
    return (name.removesuffix(".weight") for name in model.weights if name.endswith(f"{leaf}.weight"))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _aligning(model: Model, attention: str) -> frozenset[int]:
    """The heads that word times are read off."""
    config = model.config
    pairs = config.alignment_heads if isinstance(config, WhisperConfig) else ()
    return frozenset(head for layer, head in pairs if attention == f"decoder.layers.{layer}.encoder_attn")
