"""A CTranslate2 `model.bin` in; its named variables out.

The layout (CTranslate2, `python/ctranslate2/specs/model_spec.py`, `_serialize`): a uint32 binary version, the name of
the specification, a uint32 revision, a uint32 count, then each variable as name, uint8 rank, uint32 dimensions, uint8
type, uint32 bytes and data; then a uint32 count of aliases, each a pair of names. A name is a uint16 length with its
ending NUL, then the bytes.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.errors import ConversionError

Variables = Mapping[str, npt.NDArray[np.generic]]

_TYPES: dict[int, type[np.generic]] = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = np.memmap(path, dtype=np.uint8, mode="r")
        self.offset = 0

    def take(self, count: int) -> npt.NDArray[np.uint8]:
        end = self.offset + count
        if end > len(self.data):
            raise ConversionError(file=self.path, reason=f"it ends at byte {len(self.data)} where {end} are needed")
        piece = self.data[self.offset : end]
        self.offset = end
        return piece

    def number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)).tobytes())
        return int(value)

    def name(self) -> str:
        return self.take(self.number("<H")).tobytes().rstrip(b"\0").decode()


def read_variables(path: Path) -> Variables:
    """All variables of a `model.bin`, memory-mapped, aliases included.

    Raises:
        ConversionError: the file is cut, of another kind, or holds a type this reader does not know.
    """
    try:
        return _variables(path)
    except ConversionError:
        raise
    except (ValueError, KeyError) as error:
        raise ConversionError(file=path, reason=f"it is not laid out as CTranslate2 does ({error})") from error


def _variables(path: Path) -> Variables:
    reader = _Reader(path)
    reader.number("<I")  # binary version: 6 at the time of writing, the layout is the same since 2
    reader.name()
    reader.number("<I")
    variables: dict[str, npt.NDArray[np.generic]] = {}
    for _ in range(reader.number("<I")):
        name = reader.name()
        shape = [reader.number("<I") for _ in range(reader.number("<B"))]
        kind = reader.number("<B")
        if kind not in _TYPES:
            raise ConversionError(file=path, reason=f"{name} has type {kind}; known are {sorted(_TYPES)}")
        variables[name] = reader.take(reader.number("<I")).view(_TYPES[kind]).reshape(shape)
    for _ in range(reader.number("<I")):
        alias, target = reader.name(), reader.name()
        variables[alias] = variables[target]
    return variables
