"""A variant's weights.safetensors in; tensors and products on a device out, by name.

Whatever is taken is taken once and forgotten here, so that of matrices that are joined only the joined one stays. What
was given out makes up the network's memory.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open

from service.backends.torch.products import Int8Dynamic, Int8Weights, Matrix, Plain, Product

FILE_NAME = "weights.safetensors"

_FACTS = "wren"
"""The metadata entry with what the tensors do not tell (model_store, `convert/tensors.py`)."""

_COMPUTE = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Weights:
    """The tensors below a prefix, such as `decoder.layers.0`."""

    def __init__(self, tensors: dict[str, torch.Tensor], facts: Mapping[str, str], device: torch.device) -> None:
        self.facts, self.device = facts, device
        self.dtype = _computed(facts, device)
        self.prefix = ""
        self._tensors = tensors
        self._kept: list[int] = []

    @classmethod
    def read(cls, folder: Path, device: torch.device) -> "Weights":
        """The file of a variant, mapped; a GPU's copy goes straight there."""
        with safe_open(folder / FILE_NAME, "pt", device=str(device)) as file:
            facts = json.loads((file.metadata() or {}).get(_FACTS, "{}"))
            return cls({name: file.get_tensor(name) for name in file.keys()}, facts, device)  # noqa: SIM118

    def below(self, prefix: str) -> "Weights":
        other = Weights(self._tensors, self.facts, self.device)
        other.prefix, other._kept = f"{self.prefix}{prefix}.", self._kept
        return other

    def tensors(self) -> dict[str, torch.Tensor]:
        """What nobody has taken yet."""
        return dict(self._tensors)

    @property
    def kept_bytes(self) -> int:
        """Of all that was given out."""
        return sum(self._kept)

    def layers(self) -> int:
        """How many there are in `layers.`."""
        prefix = f"{self.prefix}layers."
        return 1 + max(int(name[len(prefix) :].split(".")[0]) for name in self._tensors if name.startswith(prefix))

    def shape(self, name: str) -> torch.Size:
        return self._tensors[self.prefix + name].shape

    def tensor(self, name: str) -> torch.Tensor:
        """In the type that is computed in."""
        return self.keep(self.taken(name).to(self.dtype))

    def tensor_if_there(self, name: str) -> torch.Tensor | None:
        return self.tensor(name) if self.prefix + name in self._tensors else None

    def taken(self, name: str) -> torch.Tensor:
        """As it is stored; who keeps what came of it says so."""
        return self._tensors.pop(self.prefix + name)

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        self._kept.append(tensor.nbytes)
        return tensor

    def linear(self, *names: str, shaped: Callable[[Matrix], Matrix] = lambda matrix: matrix) -> Product:
        """The product with several matrices at once, with the biases of those that have one."""
        parts = [shaped(self._matrix(f"{name}.weight")) for name in names]
        biases = [self._taken_if_there(f"{name}.bias") for name in names]
        bias = None
        if any(one is not None for one in biases):
            pairs = zip(biases, parts, strict=True)
            bias = torch.cat(
                [
                    part.weight.new_zeros(len(part.weight), dtype=self.dtype) if one is None else one.to(self.dtype)
                    for one, part in pairs
                ]
            )
        return self._product(Matrix.joined(parts), bias, self.dtype)

    def embedding(self, name: str) -> Product:
        """Looked up for the tokens, multiplied for their logits in float32."""
        return self._product(self._matrix(name), None, torch.float32)

    def _matrix(self, name: str) -> Matrix:
        return Matrix(self.taken(name), self._taken_if_there(f"{name}_scale"))

    def _taken_if_there(self, name: str) -> torch.Tensor | None:
        return self.taken(name) if self.prefix + name in self._tensors else None

    def _product(self, matrix: Matrix, bias: torch.Tensor | None, out: torch.dtype) -> Product:
        for tensor in (bias, matrix.scale):
            if tensor is not None:
                self.keep(tensor)
        if matrix.scale is None:
            return Plain(self.keep(matrix.weight.to(self.dtype)), bias, out)
        self.keep(matrix.weight)
        kind = Int8Dynamic if self.facts.get("int8") == "dynamic" else Int8Weights
        return kind(matrix, bias, self.dtype, out)


def _computed(facts: Mapping[str, str], device: torch.device) -> torch.dtype:
    """What the file says, but float32 for float16 on a CPU, where its products are 20 times slower than others."""
    dtype = _COMPUTE[facts.get("compute", "float32")]
    return torch.float32 if dtype == torch.float16 and device.type == "cpu" else dtype
