"""Matrices in; products with them out, in the kinds that a variant may have: plain, int8 weights, int8 throughout.

Rows come as [rows, inputs]. Activations that are rounded to int8 have a scale of their own in every row, and int8
products add up in int32, which is exact: a row's product is the same in any company.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812

LARGEST = 127
"""Of an int8; -128 is left out, so that scales are symmetric."""

FEW = 64
"""Rows up to which torch's product with int8 weights is faster on a CPU than to widen them first."""

_ALIGNED = 64
"""Bytes: where a file is mapped, a tensor can begin anywhere, and torch's product with int8 weights faults there."""

_SMALLEST = 1e-12
"""A scale is never zero, so that a row of zeros is not divided by it."""

_GPU_ROWS, _GPU_MULTIPLE = 32, 8
"""torch._int_mm on CUDA takes more than 16 rows, and inputs and outputs by eight."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix [outputs, inputs] as it is stored: int8 has a scale for each output."""

    weight: torch.Tensor
    scale: torch.Tensor | None = None

    @classmethod
    def joined(cls, parts: "list[Matrix]") -> "Matrix":
        """One below the other; if only some are int8, those are widened."""
        if len(parts) == 1:
            return parts[0]
        if any(part.scale is None for part in parts):
            parts = [part.widened() for part in parts]
        scales = [part.scale for part in parts if part.scale is not None]
        return cls(torch.cat([part.weight for part in parts]), torch.cat(scales) if scales else None)

    def widened(self) -> "Matrix":
        return self if self.scale is None else Matrix(self.weight * self.scale[:, None])

    def outputs_padded(self, heads: int, size: int) -> "Matrix":
        """With zeros behind the outputs of each head, up to `size` of them."""
        more = size - len(self.weight) // heads
        weight = F.pad(self.weight.view(heads, -1, self.weight.shape[1]), (0, 0, 0, more)).flatten(0, 1)
        if self.scale is None:
            return Matrix(weight)
        return Matrix(weight, F.pad(self.scale.view(heads, -1), (0, more)).flatten())

    def inputs_padded(self, heads: int, size: int) -> "Matrix":
        """With zeros behind the inputs from each head, up to `size` of them."""
        more = size - self.weight.shape[1] // heads
        return Matrix(F.pad(self.weight.view(len(self.weight), heads, -1), (0, more)).flatten(1), self.scale)


class Product(Protocol):
    """A matrix that is multiplied with, and looked up in where it is an embedding."""

    @property
    def inputs(self) -> int: ...

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, inputs] -> [rows, outputs]."""
        ...

    def look_up(self, tokens: torch.Tensor) -> torch.Tensor:
        """[...] -> [..., inputs]."""
        ...


@dataclass(frozen=True, slots=True)
class Plain:
    """Weights that are multiplied as they are."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    out: torch.dtype

    @property
    def inputs(self) -> int:
        return self.weight.shape[1]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight, self.bias).to(self.out)

    def look_up(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.embedding(tokens, self.weight)


class Int8Weights:
    """Int8 weights that are widened for the product: they take half the memory of 16 bits."""

    def __init__(self, matrix: Matrix, bias: torch.Tensor | None, dtype: torch.dtype, out: torch.dtype) -> None:
        assert matrix.scale is not None
        self.weight, self.scale, self.bias = matrix.weight, matrix.scale[:, None], bias
        self.inputs, self.dtype, self.out = matrix.weight.shape[1], dtype, out
        self._direct = self.weight.device.type == "cpu" and dtype == torch.bfloat16
        if self._direct and self.weight.data_ptr() % _ALIGNED:
            self.weight = self.weight.clone()
        self._rounded_scale = matrix.scale.to(dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if not self._direct or len(x) > FEW:
            return F.linear(x, self._widened(), self.bias).to(self.out)
        y = torch._weight_int8pack_mm(x, self.weight, self._rounded_scale)  # noqa: SLF001
        return (y if self.bias is None else y.add_(self.bias)).to(self.out)

    def look_up(self, tokens: torch.Tensor) -> torch.Tensor:
        return _looked_up(tokens, self.weight, self.scale).to(self.dtype)

    def _widened(self) -> torch.Tensor:
        """Multiplied in float32 and rounded in the same pass: a float16 could neither hold all scales nor the sums."""
        into = torch.empty_like(self.weight, dtype=self.dtype)
        return torch.mul(self.weight, self.scale, out=into)


class Int8Dynamic:
    """Int8 weights with activations rounded to int8, whose scales are found as they come: one a row."""

    def __init__(self, matrix: Matrix, bias: torch.Tensor | None, dtype: torch.dtype, out: torch.dtype) -> None:
        assert matrix.scale is not None
        self.outputs, self.inputs = matrix.weight.shape
        self._on_gpu = matrix.weight.device.type != "cpu"
        self._more_inputs = -self.inputs % _GPU_MULTIPLE if self._on_gpu else 0
        more_outputs = -self.outputs % _GPU_MULTIPLE if self._on_gpu else 0
        self.weight = F.pad(matrix.weight, (0, self._more_inputs, 0, more_outputs))
        self.scale, self.dtype, self.out = matrix.scale, dtype, out
        self.bias = None if bias is None else bias.float()
        self._transposed = self.weight.t()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        scale = x.abs().amax(1, keepdim=True).float().mul_(1 / LARGEST).clamp_min_(_SMALLEST)
        y = self._product(x.div(scale).round_().to(torch.int8)).float().mul_(scale)
        return (y.mul_(self.scale) if self.bias is None else torch.addcmul(self.bias, y, self.scale)).to(self.out)

    def look_up(self, tokens: torch.Tensor) -> torch.Tensor:
        rows = _looked_up(tokens, self.weight, self.scale[:, None]).to(self.dtype)
        return rows[..., : self.inputs]

    def _product(self, rounded: torch.Tensor) -> torch.Tensor:
        rows = len(rounded)
        if not self._on_gpu:
            return torch._int_mm(rounded, self._transposed)  # noqa: SLF001
        padded = F.pad(rounded, (0, self._more_inputs, 0, max(0, _GPU_ROWS - rows)))
        return torch._int_mm(padded, self._transposed)[:rows, : self.outputs]  # noqa: SLF001


def _looked_up(tokens: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return F.embedding(tokens, weight) * F.embedding(tokens, scale)
