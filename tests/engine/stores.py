"""Stores of the models that are there, with this or that broken."""

from pathlib import Path

import onnx

from model_store.inspection import read
from model_store.manifest import FILE_NAME, Manifest
from model_store.registry import describe
from tests.store import STORE


def linked_store(root: Path, *variants: str) -> Path:
    """A store of links to `model/variant` of the real one; a link can be replaced without harm."""
    for variant in variants:
        (root / variant).mkdir(parents=True)
        for path in (STORE / variant).iterdir():
            (root / variant / path.name).symlink_to(path)
    return root


def cut(path: Path) -> None:
    """Replace the link by the first half of what it led to."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def ruin(folder: Path) -> None:
    """Make a build of a variant that no runtime can load, with a manifest that is true of it."""
    cut(folder / "decoder.onnx")
    _describe(folder)


def deafen(folder: Path) -> None:
    """Make a build of an INT8 variant that loads and computes nonsense, with a manifest that is true of it."""
    path = folder / "encoder.onnx"
    model = onnx.load(path)
    path.unlink()
    for tensor in model.graph.initializer:
        if tensor.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8):
            tensor.raw_data = tensor.raw_data[::-1]
    onnx.save(model, path)
    _describe(folder)


def _describe(folder: Path) -> None:
    manifest = read(folder, folder.parent.name, folder.name)
    assert isinstance(manifest, Manifest)
    (folder / FILE_NAME).unlink()
    (folder / FILE_NAME).write_text(describe(manifest, folder).model_dump_json())
