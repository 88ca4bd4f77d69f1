"""Which variant a request means: its `model`, `variant` and `precision` in, what the engine is asked for out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.engine.choice import AUTO, BY_NAME
from service.engine.types import ModelInfo
from service.errors import ModelNotFound, OptionError

CLOUD_NAMES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe")
"""Names that clients of the OpenAI service have built in; they mean the default model here."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the engine is asked for, and the variant that it will be, as far as is known now."""

    model: str
    expected: ModelInfo

    @property
    def reason(self) -> str:
        return BY_NAME if self.model == self.expected.manifest.name else self.expected.reason


def select(
    infos: Sequence[ModelInfo], *, asked: str, default: str, variant: str | None = None, precision: str | None = None
) -> Selection:
    """The engine chooses the variant, unless the client names one or a precision.

    Raises:
        ModelNotFound: there is no such model, or no such `model:variant`.
        OptionError: the model has no variant of that name or precision, or the fields contradict each other.
    """
    name = default if asked == AUTO or asked in CLOUD_NAMES else asked
    if name == AUTO:
        return Selection(AUTO, next((info for info in infos if info.first), None) or _first(infos, asked))
    model, colon, named = name.partition(":")
    variants = [info for info in infos if info.manifest.model == model]
    if colon:
        variants = [info for info in variants if info.manifest.variant == named]
    expected = _first(variants, asked, infos)
    if variant is None and precision is None:
        return Selection(name, expected)
    if variant is not None:
        variants = _narrowed(variants, "variant", variant)
    if precision is not None:
        variants = _narrowed(variants, "precision", precision)
    expected = _first(variants, asked)
    return Selection(expected.manifest.name, expected)


def names_of(info: ModelInfo, *, default: str) -> tuple[str, ...]:
    """Every other name that means this variant: the bare model's, and those of the cloud for the default model."""
    bare = (info.manifest.model,) if info.default else ()
    meant = info.first if default == AUTO else default in (info.manifest.name, *bare)
    return (*bare, *((AUTO, *CLOUD_NAMES) if meant else ()))


def _first(variants: Sequence[ModelInfo], asked: str, known: Sequence[ModelInfo] = ()) -> ModelInfo:
    if not variants:
        raise ModelNotFound(asked, tuple(info.manifest.name for info in known))
    return next((info for info in variants if info.default), variants[0])


def _narrowed(variants: list[ModelInfo], field: str, wanted: str) -> list[ModelInfo]:
    kept = [info for info in variants if _value(info, field) == wanted]
    if not kept:
        there = ", ".join(f"{info.manifest.name} ({info.manifest.precision})" for info in variants)
        raise OptionError(f"There is no {field} {wanted!r} of this model. Available: {there}.", param=field)
    return kept


def _value(info: ModelInfo, field: str) -> str:
    return info.manifest.variant if field == "variant" else info.manifest.precision
