from collections.abc import Iterator
from pathlib import Path

import pytest
from local_site import Site, serving

from model_store.registry import Registry


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as local:
        yield local


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "store")
