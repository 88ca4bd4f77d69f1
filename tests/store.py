"""The store that the tests read: WREN_STORE, by default the one that `make` fills."""

import os
from pathlib import Path

from model_store.registry import Registry

STORE = Path(os.environ.get("WREN_STORE", Path(__file__).parents[1] / ".store")).absolute()


def folder(model: str, variant: str) -> Path:
    """The folder of a variant."""
    registry = Registry(STORE)
    return registry.path(registry.get(model, variant))
