"""A store and a name in, the variant that serves it on this machine out."""

from pathlib import Path

from model_store.manifest import Manifest
from model_store.registry import Registry
from service.engine.choice import choose
from service.engine.device import read_device


def variant(store: Path, name: str) -> Manifest:
    fast_int8 = read_device().fast_int8
    return choose(name, Registry(store).list(), default=name, fast_int8=fast_int8).manifest
