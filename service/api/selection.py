"""What a request means: its `model`, `variant` and `precision` in, what the engine is asked for out. Pure.

A variant that is named is an order: it serves or the request fails. A precision is a wish, which the engine weighs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from model_store.manifest import Precision
from service.engine.choice import AUTO
from service.engine.types import ModelInfo
from service.errors import ModelNotFound, OptionError

CLOUD_NAMES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe")
"""Names that clients of the OpenAI service have built in; they mean what `auto` does."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The engine's name for it, `model:variant` if the client orders one, and else the precision wished for."""

    model: str
    precision: Precision | None = None


def select(
    infos: Sequence[ModelInfo], *, asked: str, variant: str | None = None, precision: Precision | None = None
) -> Selection:
    """The engine chooses the variant, unless the client names one.

    Raises:
        ModelNotFound: there is no such model, or no such `model:variant`.
        OptionError: the model has no variant of that name, or the fields contradict each other.
    """
    name = AUTO if asked in CLOUD_NAMES else asked
    variants = _meant(infos, name)
    if not variants:
        raise ModelNotFound(asked, tuple(info.manifest.name for info in infos))
    if variant is None and name != variants[0].manifest.name:
        return Selection(name, precision)
    if variant is not None:
        variants = _narrowed(variants, "variant", variant)
    if precision is not None:
        variants = _narrowed(variants, "precision", precision)
    return Selection(variants[0].manifest.name)


def find(infos: Sequence[ModelInfo], asked: str) -> ModelInfo:
    """The variant that a name means now.

    Raises:
        ModelNotFound: none.
    """
    name = select(infos, asked=asked).model
    variants = _meant(infos, name)
    return next((info for info in variants if (info.first if name == AUTO else info.default)), variants[0])


def names_of(info: ModelInfo) -> tuple[str, ...]:
    """Every other name that means this variant now: the bare model's, `auto` and those of the cloud."""
    bare = (info.manifest.model,) if info.default else ()
    return (*bare, *((AUTO, *CLOUD_NAMES) if info.first else ()))


def _meant(infos: Sequence[ModelInfo], name: str) -> list[ModelInfo]:
    """The variants that a name leaves open; `auto` those of the model that it means now."""
    if name != AUTO:
        return [info for info in infos if name in (info.manifest.name, info.manifest.model)]
    models = [info.manifest.model for info in infos if info.first]
    return [info for info in infos if not models or info.manifest.model in models]


def _narrowed(variants: list[ModelInfo], field: str, wanted: str) -> list[ModelInfo]:
    kept = [info for info in variants if _value(info, field) == wanted]
    if not kept:
        there = ", ".join(f"{info.manifest.name} ({info.manifest.precision})" for info in variants)
        raise OptionError(f"There is no {field} {wanted!r} of this model. Available: {there}.", param=field)
    return kept


def _value(info: ModelInfo, field: str) -> str:
    return info.manifest.variant if field == "variant" else info.manifest.precision
