"""The forms that matrices have on torch, and a model's tensors in them. Nothing here imports torch.

A graph holds these forms too, in float32 what they are rounded to, so that steps can measure on recordings what the
rounding of weights costs; that of activations it does not show.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import ml_dtypes
import numpy as np
import numpy.typing as npt

from model_store.convert.formats import Float, Format, Int8Weights, Place, Widened, quantise_rows
from model_store.convert.graph import Array, Floats, Graph
from model_store.convert.matrix import Matrix
from model_store.convert.parameters import Form
from model_store.errors import CompressionError
from model_store.manifest import Runtime

SCALE = "_scale"
"""What the name of a matrix's scales has behind the matrix's own."""


@dataclass(frozen=True, slots=True)
class BFloat16(Widened):
    """The upper half of a float32, to the nearest: 8 bits of precision, and float32's range."""

    bits_kept: ClassVar[float] = 16

    def constant(self, graph: Graph, kernel: Matrix) -> str:
        return graph.constant(kernel.value.astype(ml_dtypes.bfloat16).astype(np.float32), "weight")


@dataclass(frozen=True, slots=True)
class Int8Rows(Widened):
    """Kept in int8 with a scale a row (an output channel, a token of the embedding).

    Activations are rounded to int8 as well, each row with a scale of its own that is found at run time, so that no row
    changes another; or they stay as they are, and the weights are widened for the product.
    """

    activations: Literal["int8", "float"] = "int8"
    places: ClassVar[frozenset[Place]] = frozenset({"linear", "embedding"})
    bits_kept: ClassVar[float] = 8

    def constant(self, graph: Graph, kernel: Matrix) -> str:
        return Int8Weights().constant(graph, kernel)


def has(runtime: Runtime, form: Format) -> bool:
    """Whether a matrix can be in this form there; openvino has those of onnxruntime, which decodes for it."""
    if runtime == "torch":
        return isinstance(form, Float | BFloat16 | Int8Rows)
    return not isinstance(form, BFloat16 | Int8Rows)


def formed(weights: Mapping[str, Floats], form: Form) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors as the file keeps them, and the facts that say how to compute with them.

    Matrices are in their forms, vectors (biases, norms) in float32. The facts are "compute", what all but integers is
    computed in, and where there are matrices in int8 "int8": "dynamic" if activations are rounded too, else "weights".

    Raises:
        CompressionError: matrices are in several forms of floats, or in int8 of both kinds.
    """
    kept: dict[str, Array] = {}
    compute: set[str] = set()
    products: set[str] = set()
    for name, weight in weights.items():
        chosen = form.formats.get(name, Float(32)) if weight.ndim > 1 else None
        match chosen:
            case None:
                kept[name] = weight
            case Int8Rows():
                kept[name], kept[name + SCALE] = quantise_rows(weight)
                products.add("dynamic" if chosen.activations == "int8" else "weights")
            case Float() | BFloat16():
                kept[name] = weight.astype(_kind(chosen), copy=False)
                compute.add(kept[name].dtype.name)
            case _:
                raise TypeError(f"{name} is in {chosen}, which torch has not")
    return kept, _only("compute", compute) | _only("int8", products)


def _kind(form: Float | BFloat16) -> npt.DTypeLike:
    if isinstance(form, Float):
        return np.float32 if form.bits == 32 else np.float16
    bfloat16: npt.DTypeLike = ml_dtypes.bfloat16
    return bfloat16


def _only(fact: str, found: set[str]) -> dict[str, str]:
    if len(found) > 1:
        both = " and ".join(sorted(found))
        raise CompressionError(
            "quantise",
            f"on torch a model has one form of floats, one of int8, not {both}; begin with fp16 or bf16 for all layers",
        )
    return {fact: found.pop()} if found else {}
