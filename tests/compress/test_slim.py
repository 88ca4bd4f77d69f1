"""What is missed least goes first, and as much as was asked for."""

import pytest

from model_store.compress.channels import Channels
from model_store.compress.compute import compute
from model_store.compress.context import Context
from model_store.compress.slim import POSITIONS, TOKENS, Slim, Width, cheapest, slim
from model_store.errors import CompressionError
from tests.compress.drafts import calibration, small_draft

SEEN = Context(calibration(real=False))


def width(block: str, count: int, saved: int, cost: float) -> Width:
    return Width(Channels(block, (), "", 1, 8), count, saved, cost)


WIDTHS = [width("a", 1, 10, 1.0), width("a", 2, 20, 1.5), width("a", 4, 40, 20.0), width("b", 4, 40, 4.0)]


@pytest.mark.parametrize(
    ("saved", "chosen"),
    [(10, {"a": 2}), (20, {"a": 2}), (21, {"a": 2, "b": 4}), (60, {"a": 2, "b": 4}), (61, {"a": 4, "b": 4})],
)
def test_the_cheapest_products_go_first(saved: float, chosen: dict[str, int]) -> None:
    assert {one.channels.name: one.count for one in cheapest(WIDTHS, saved)} == chosen


def test_what_cannot_be_saved_is_said() -> None:
    with pytest.raises(CompressionError, match="80 products can be saved, and 81 were asked for"):
        cheapest(WIDTHS, 81)


def test_so_much_compute_is_saved() -> None:
    slimmed = slim(small_draft(), Slim(step="slim", saving=0.1, blocks=("encoder.*",)), SEEN)
    before, after = (compute(one.model, POSITIONS, TOKENS // 2).of(TOKENS) for one in (small_draft(), slimmed))
    assert 0.1 <= 1 - after / before < 0.2
    decoder = [name for name in small_draft().model.weights if name.startswith("decoder.")]
    assert all(slimmed.model.weights[name] is small_draft().model.weights[name] for name in decoder)


def test_recordings_are_needed() -> None:
    with pytest.raises(CompressionError, match="--calibration"):
        slim(small_draft(), Slim(step="slim", saving=0.1), Context())
