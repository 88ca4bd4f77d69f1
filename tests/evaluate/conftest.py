import pytest

from model_store.registry import Registry
from tests.evaluate.stores import writable_store


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(writable_store(tmp_path_factory.mktemp("store")))
