"""A model's name and what the store holds in; the variant that serves it out, with the reason. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from model_store.manifest import Family, Manifest, Precision
from service.errors import ModelNotFound

SPEECH_FAMILIES: frozenset[Family] = frozenset({"whisper", "moonshine"})
"""Families that write text; the store holds a speech detector beside them."""

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Choice:
    """A variant, and why it."""

    manifest: Manifest
    reason: str

    @property
    def name(self) -> str:
        return self.manifest.name


def choose(name: str, manifests: Sequence[Manifest], *, default: str, fast_int8: bool) -> Choice:
    """The variant for `model:variant`, a bare `model`, or `auto`, which is the default.

    A bare model is served by INT8 where the processor multiplies it in one instruction, else by the base variant.

    Raises:
        ModelNotFound: the store has none of that name.
    """
    wanted = default if name == AUTO else name
    known = [manifest for manifest in manifests if manifest.family in SPEECH_FAMILIES]
    if wanted == AUTO and known:
        wanted = known[0].model
    exact = [manifest for manifest in known if manifest.name == wanted]
    if exact:
        return Choice(exact[0], "asked for by name")
    variants = [manifest for manifest in known if manifest.model == wanted]
    if not variants:
        raise ModelNotFound(name, tuple(manifest.name for manifest in known))
    return _preferred(variants, fast_int8=fast_int8)


def _preferred(variants: Sequence[Manifest], *, fast_int8: bool) -> Choice:
    order: tuple[Precision, ...] = ("int8", "fp32") if fast_int8 else ("fp32", "int8")
    reason = "this processor has fast INT8" if fast_int8 else "this processor has no fast INT8"
    for precision in order:
        for manifest in variants:
            if manifest.precision == precision:
                return Choice(manifest, reason)
    return Choice(variants[0], "the only kind there is")
