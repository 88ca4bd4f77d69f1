"""A store in; a copy that has besides what no server should ever serve out. The store itself is only read."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from model_store.manifest import Manifest
from model_store.registry import Registry

ROWS = 1000
"""By which the rows of a decoder's largest matrix are shifted: every token then means another."""


def copied(store: Path, into: Path, names: Iterable[str]) -> Registry:
    """The variants of these names, and what was measured of them on this machine."""
    for name in names:
        _copy(store / Path(*name.split(":")), into / Path(*name.split(":")))
    if (store / ".profiles").exists():
        _copy(store / ".profiles", into / ".profiles")
    return Registry(into)


def add_corrupted(registry: Registry, original: Manifest, folder: Path) -> str:
    """Adds a variant of which one byte is not what its manifest says; its name."""
    _copy(registry.path(original), folder)
    added = _add(registry, original, "corrupted", folder)
    path = registry.path(added) / "encoder.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    return added.name


def add_shuffled(registry: Registry, original: Manifest, folder: Path) -> str:
    """Adds a variant whose files are as its manifest says, and which hears other words than are said; its name."""
    _copy(registry.path(original), folder)
    path = folder / "decoder.onnx"
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    rolled = np.roll(numpy_helper.to_array(largest), ROWS, axis=0)
    largest.CopyFrom(numpy_helper.from_array(rolled, largest.name))
    onnx.save(model, path)
    return _add(registry, original, "shuffled", folder).name


def _add(registry: Registry, original: Manifest, variant: str, folder: Path) -> Manifest:
    """What was evaluated of the original says nothing of it."""
    return registry.add(original.model_copy(update={"variant": variant, "evaluations": ()}), folder)


def _copy(folder: Path, into: Path) -> None:
    shutil.copytree(folder, into, ignore=shutil.ignore_patterns(".versions"))
