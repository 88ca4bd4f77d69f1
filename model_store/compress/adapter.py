"""A step: a small change of the weights, trained before and kept in a file, is put into them.

Wren comes with the changes that adapt Whisper to windows without padding (`model_store/compress/adapters/`); a file of
one's own is what `wren train` leaves with an adapted variant. A matrix's change is a product of two thin ones (LoRA: Hu
et al., 2022), a vector's is added as it is.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from model_store.compress.draft import Draft
from model_store.compress.settings import STRICT
from model_store.config import Padding, WhisperConfig
from model_store.convert.graph import Floats
from model_store.convert.model import Model
from model_store.errors import CompressionError

DOWN, UP, VECTOR = ".down", ".up", ".change"
"""Behind a tensor's name: the two thin matrices, or the change of a vector."""

_FACTS = "change"


class Adapter(BaseModel):
    """Puts in the change of `file`; without one, that which Wren comes with for this model."""

    model_config = STRICT

    step: Literal["adapter"]
    file: Path | None = None


class Facts(BaseModel):
    """What is known of a change.

    Attributes:
        model_sha256: of the weights that it was trained on, see `identity`.
        padding: what a window is to be padded with from then on; None as it was trained.
        settings: of the step that trained it.
        trained_on: the recordings, and under which licences they are.
    """

    model_config = STRICT

    model_sha256: str
    padding: Padding | None
    settings: str
    trained_on: str


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """float16 tensors by name, and what is known of them."""

    tensors: Mapping[str, npt.NDArray[np.float16]]
    facts: Facts


def adapter(draft: Draft, settings: Adapter) -> Draft:
    """The draft with the change in it.

    Raises:
        CompressionError: there is none for this model, or the file is none.
    """
    change = read(settings.file) if settings.file else shipped(draft.model)
    if change is None:
        raise CompressionError("adapter", "Wren comes with none for this model; train one: wren train -r adapted")
    if change.facts.model_sha256 != identity(draft.model):
        raise CompressionError("adapter", f"{settings.file} was trained for another model, or other weights of it")
    return adapted(draft, change)


def adapted(draft: Draft, change: Change) -> Draft:
    """The draft with a change that is known to be of its model.

    Sums are made in float64 and kept as float16 has them, so that every machine writes the same files.
    """
    weights, config = dict(draft.model.weights), draft.model.config
    if not isinstance(config, WhisperConfig):
        raise CompressionError("adapter", "only Whisper was trained on padded windows")
    for name, value in change.tensors.items():
        if name.endswith(DOWN):
            continue
        target = name.removesuffix(UP).removesuffix(VECTOR)
        more = value.astype(np.float64)
        if name.endswith(UP):
            more = more @ change.tensors[target + DOWN].astype(np.float64)
        weights[target] = (weights[target] + more).astype(np.float16).astype(np.float32)
    return draft.having(weights, config.model_copy(update={"padding": change.facts.padding}))


def identity(model: Model) -> str:
    """The SHA-256 of the weights as float16 has them: the same whether they came in float16 or in float32."""
    summed = hashlib.sha256()
    for name in sorted(model.weights):
        summed.update(name.encode())
        summed.update(np.ascontiguousarray(model.weights[name].astype(np.float16)).tobytes())
    return summed.hexdigest()


def shipped(model: Model) -> Change | None:
    """The change that Wren comes with for a model of these weights."""
    if model.family != "whisper":
        return None
    mine = identity(model)
    return next((change for change in _shipped() if change.facts.model_sha256 == mine), None)


@cache
def _shipped() -> tuple[Change, ...]:
    folder = files(__package__) / "adapters"
    if not folder.is_dir():
        return ()
    found = []
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".safetensors"):
            with as_file(entry) as path:
                found.append(read(path))
    return tuple(found)


def read(path: Path) -> Change:
    """The change in a file.

    Raises:
        CompressionError: it cannot be read, or is not one.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts = Facts.model_validate_json((file.metadata() or {})[_FACTS])
            return Change({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        raise CompressionError("adapter", f"{path} is not a change of a model's weights ({error})") from error


def write(change: Change, path: Path) -> None:
    """Into a new file."""
    tensors = {name: np.ascontiguousarray(one.astype(np.float16)) for name, one in sorted(change.tensors.items())}
    save_file(tensors, path, metadata={_FACTS: change.facts.model_dump_json()})


def halved(tensors: Mapping[str, Floats]) -> dict[str, npt.NDArray[np.float16]]:
    """As a file keeps them."""
    return {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
