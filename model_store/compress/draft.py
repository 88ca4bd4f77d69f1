"""A model between the steps of a recipe: its weights, and the forms in which they are going to be written."""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from model_store.config import ModelConfig
from model_store.convert.formats import Format, Place
from model_store.convert.graph import Floats
from model_store.convert.model import Model
from model_store.convert.parameters import Form
from model_store.errors import CompressionError

_LINEAR = ("_proj.weight", "fc1.weight", "fc2.weight")
_EMBEDDING = "embed_tokens.weight"


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """What a step is given and gives back. Steps change weights or forms, never both in place."""

    model: Model
    form: Form = field(default_factory=Form)

    def having(self, weights: Mapping[str, Floats], config: ModelConfig | None = None) -> "Draft":
        """With other weights."""
        return replace(self, model=self.model.having(weights, config))

    def formed(self, names: Sequence[str], form: Format) -> "Draft":
        """With these tensors in another form."""
        formats = {**self.form.formats, **dict.fromkeys(names, form)}
        return replace(self, form=replace(self.form, formats=formats))


def place(name: str) -> Place | None:
    """What a tensor is used for; None for vectors (biases, norms), which are always in float32."""
    if name.endswith(_LINEAR):
        return "linear"
    if name.endswith(_EMBEDDING):
        return "embedding"
    return "other" if ".conv" in name or name.endswith("embed_positions.weight") else None


def matched(step: str, model: Model, patterns: Sequence[str], places: frozenset[Place]) -> list[str]:
    """As `matrices`, for a step that must have some.

    Raises:
        CompressionError: a pattern matches nothing that could be treated so.
    """
    for pattern in patterns:
        if not any(matrices(model, [pattern], places)):
            reason = f"no weight of {model.family} that could be treated so is called {pattern!r}"
            raise CompressionError(step, reason)
    return list(matrices(model, patterns, places))


def matrices(model: Model, patterns: Sequence[str], places: frozenset[Place]) -> Iterator[str]:
    """The names of tensors that match one of the patterns (`*`, `?`, `[kv]`) and are used in one of these places."""
    for name, weight in model.weights.items():
        used = place(name) if weight.ndim > 1 else None
        if used in places and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            yield name
