"""The figures that come with Wren are of the very files that a pull builds with the pinned versions."""

import pytest

from model_store import evaluated
from model_store.registry import Registry
from tests.store import STORE


@pytest.mark.parametrize("model", ["whisper-tiny.en", "whisper-base", "moonshine-tiny"])
@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_a_pulled_variant_is_known(model: str, variant: str) -> None:
    """Else a fresh machine knows no loss and serves float32: build, evaluate and write the file anew."""
    assert evaluated.load().of(Registry(STORE).get(model, variant))
