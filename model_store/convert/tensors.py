"""A variant's weights.safetensors: tensors as trained beside graphs that refer to them, or all that torch needs.

The runtime maps the file; what compresses or trains a model reads that of a base variant.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from model_store.convert.graph import FLOAT, FLOAT16, Array, Floats, Stored
from model_store.errors import ConversionError

FILE_NAME = "weights.safetensors"

_KINDS = {"F32": FLOAT, "F16": FLOAT16}
_FACTS = "wren"
"""All facts are one entry: several would be written in another order each time, and the digest be another."""

READABLE = 0o644
_LENGTH = struct.Struct("<Q")
"""Of the header, in bytes: the first thing in the file (safetensors, "Format")."""


def write(path: Path, tensors: Mapping[str, Array], facts: Mapping[str, str]) -> None:
    """Writes the tensors as they are, and `facts` that their shapes do not tell."""
    contiguous = {name: np.ascontiguousarray(one) for name, one in sorted(tensors.items())}
    save_file(contiguous, path, {_FACTS: json.dumps(facts, sort_keys=True)})
    path.chmod(READABLE)  # safetensors lets only the owner read it


def places(path: Path) -> dict[str, Stored]:
    """Where each tensor lies."""
    with path.open("rb") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        header = json.loads(file.read(length))
    start = _LENGTH.size + length
    return {
        name: Stored(path.name, start + one["data_offsets"][0], _extent(one), _KINDS[one["dtype"]], tuple(one["shape"]))
        for name, one in header.items()
        if name != "__metadata__"
    }


def _extent(entry: dict[str, list[int]]) -> int:
    first, last = entry["data_offsets"]
    return last - first


def read(path: Path) -> tuple[dict[str, Floats], dict[str, str]]:
    """The tensors of a base variant in float32, and the facts.

    Raises:
        ConversionError: it is missing, or no such file, or is a variant's for torch, which are only run.
    """
    if not path.is_file():
        raise ConversionError(path, "the file is missing")
    try:
        with safe_open(path, "numpy") as file:
            facts: dict[str, str] = json.loads((file.metadata() or {}).get(_FACTS, "{}"))
            if "compute" not in facts:
                names = file.keys()
                return {name: file.get_tensor(name).astype(np.float32, copy=False) for name in names}, facts
    except (SafetensorError, ValueError) as error:
        raise ConversionError(path, f"it is no safetensors file, or is cut ({error})") from error
    raise ConversionError(path, "it was made for torch from a base variant; go on from that one")
