"""Small changes of large matrices: a product of two thin ones is added (LoRA: Hu et al., 2022).

Vectors (biases, norms) are changed in full; they are small. In float16 in a file, a change is a hundredth of its model.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from model_store.compress.adapter import DOWN, UP, VECTOR


def fresh(weights: Mapping[str, Tensor], names: Iterable[str], rank: int, *, seed: int) -> dict[str, Tensor]:
    """Parameters of a change that changes nothing yet: thin matrices for matrices, vectors for vectors."""
    generator = torch.Generator().manual_seed(seed)
    parameters: dict[str, Tensor] = {}
    for name in names:
        weight = weights[name]
        if weight.ndim == 1:
            parameters[name + VECTOR] = torch.zeros_like(weight)
            continue
        outputs, inputs = weight.shape
        thin = min(rank, outputs, inputs)
        parameters[name + DOWN] = torch.randn(thin, inputs, generator=generator) * inputs**-0.5
        parameters[name + UP] = torch.zeros(outputs, thin)
    return parameters


def changed(weights: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the change in them; those that it does not name are as they were."""
    merged = dict(weights)
    for name, value in parameters.items():
        if name.endswith(UP):
            target = name.removesuffix(UP)
            merged[target] = weights[target] + value @ parameters[target + DOWN]
        elif name.endswith(VECTOR):
            target = name.removesuffix(VECTOR)
            merged[target] = weights[target] + value
    return merged
