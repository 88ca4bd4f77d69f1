"""A store and a name in, the variant that it means on this machine out; without a plan, so that it needs no profile."""

from collections.abc import Iterable
from pathlib import Path

from model_store.errors import NotInStore
from model_store.manifest import Manifest
from model_store.registry import Registry
from service.engine.choice import SPEECH_FAMILIES, Choices
from service.engine.device import read_device


def variant(store: Path, name: str) -> Manifest:
    speaking = tuple(manifest for manifest in Registry(store).list() if manifest.family in SPEECH_FAMILIES)
    return Choices(speaking, {}, default=name, fast_int8=read_device().fast_int8).choose(name).manifest


def there(store: Path, names: Iterable[str]) -> tuple[list[Manifest], list[str]]:
    """Of variants, each as MODEL:VARIANT, those that the store has, and the names of the others."""
    registry = Registry(store)
    found, missing = list[Manifest](), list[str]()
    for name in names:
        model, _, called = name.partition(":")
        try:
            found.append(registry.get(model, called))
        except NotInStore:
            missing.append(name)
    return found, missing
