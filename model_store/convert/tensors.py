"""A variant's weights.safetensors: tensors as trained, beside graphs that refer to them. Written here, and read back.

The runtime maps the file; what compresses or trains a model reads the same file.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from model_store.convert.graph import FLOAT, FLOAT16, Floats, Stored
from model_store.errors import ConversionError

FILE_NAME = "weights.safetensors"

_KINDS = {"F32": FLOAT, "F16": FLOAT16}
_FACTS = "wren"
"""All facts are one entry: several would be written in another order each time, and the digest be another."""

READABLE = 0o644
_LENGTH = struct.Struct("<Q")
"""Of the header, in bytes: the first thing in the file (safetensors, "Format")."""


def write(path: Path, weights: Mapping[str, Floats], *, bits: Literal[32, 16], facts: Mapping[str, str]) -> None:
    """Writes the tensors, and `facts` that their shapes do not tell."""
    kind = np.float32 if bits == 32 else np.float16
    save_file(
        {name: np.ascontiguousarray(one, kind) for name, one in sorted(weights.items())},
        path,
        {_FACTS: json.dumps(facts, sort_keys=True)},
    )
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
    """The tensors in float32, and the facts.

    Raises:
        ConversionError: it is missing, or no such file.
    """
    if not path.is_file():
        raise ConversionError(path, "the file is missing")
    try:
        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name).astype(np.float32, copy=False) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {}).get(_FACTS, "{}"))
    except (SafetensorError, ValueError) as error:
        raise ConversionError(path, f"it is no safetensors file, or is cut ({error})") from error
