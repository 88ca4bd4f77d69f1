"""The weights of a model by their full names, seen from a layer."""

from collections.abc import Mapping

from model_store.convert.graph import Floats


class Weights:
    """The weights below a prefix."""

    def __init__(self, weights: Mapping[str, Floats], prefix: str) -> None:
        self._weights, self._prefix = weights, prefix

    def __getitem__(self, name: str) -> Floats:
        return self._weights[f"{self._prefix}.{name}"]

    def below(self, prefix: str) -> "Weights":
        return Weights(self._weights, f"{self._prefix}.{prefix}")
