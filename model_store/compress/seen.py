"""What recordings told of a matrix, found by its name and in its own shape: graphs join matrices and pad heads."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from model_store.convert.model import Model
from model_store.errors import CompressionError

Told = TypeVar("Told")


def told(name: str, of: Mapping[str, Told]) -> Told:
    """Of a matrix by its name: queries, keys and values may be one product, which goes by the first of them.

    Raises:
        CompressionError: nothing was told of it.
    """
    first = name.replace(".k_proj.", ".q_proj.").replace(".v_proj.", ".q_proj.")
    found = of.get(name, of.get(first))
    if found is None:
        raise CompressionError("calibrate", f"the recordings said nothing of {name}")
    return found


def own_inputs(model: Model, name: str, width: int) -> npt.NDArray[np.int64]:
    """Which of the `width` inputs that were seen are the matrix's own: heads may have been padded."""
    own = model.weights[name].shape[1]
    if own == width:
        return np.arange(width)
    heads = int(model.facts[f"{name.split('.', maxsplit=1)[0]}_heads"])
    return np.arange(width).reshape(heads, -1)[:, : own // heads].ravel()
