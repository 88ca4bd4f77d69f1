"""Models of random weights have the shapes of real ones, and compute with numbers that FP16 holds."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.shapes import SIZES, Size, random_model, random_whisper, shapes, written
from model_store.convert.model import read, write
from model_store.convert.parameters import Form
from tests.convert.test_model import logits
from tests.convert.test_torch_tensors import contents
from tests.store import folder

BASE = folder("whisper-base", "fp32")


def test_base_has_the_tensors_of_the_real_one() -> None:
    real = read(BASE).weights
    assert dict(shapes(SIZES["base"])) == {name: weight.shape for name, weight in real.items()}


@pytest.mark.parametrize(("size", "millions"), [("tiny", 38), ("base", 73), ("small", 242), ("large-v3", 1543)])
def test_sizes_are_as_published(size: Size, millions: int) -> None:
    """Parameters of the checkpoints on the hub; the paper's table rounds them up (39, 74, 244, 1550)."""
    assert round(sum(float(np.prod(shape)) for _, shape in shapes(SIZES[size])) / 1e6) == millions


@pytest.mark.parametrize(
    ("recipe", "kind"), [("fp16-torch", "float16"), ("int8-torch", "int8"), ("int8-weights-torch", "int8")]
)
def test_it_is_written_by_the_recipes_that_there_are(recipe: str, kind: str, tmp_path: Path) -> None:
    tensors, facts = contents(random_whisper("tiny", tmp_path / "tiny", recipe=recipe, like=BASE))
    assert tensors["decoder.embed_tokens.weight"].dtype.name == kind
    assert facts["family"] == "whisper"


def test_the_same_model_comes_every_time(tmp_path: Path) -> None:
    one, two = (written(random_model("tiny", like=BASE), tmp_path / name, recipe="fp16-torch") for name in "ab")
    assert all(path.read_bytes() == (two / path.name).read_bytes() for path in one.iterdir())


def test_it_computes_with_numbers_that_neither_vanish_nor_overflow(tmp_path: Path) -> None:
    write(random_model("tiny", like=BASE), Form(), tmp_path / "fp32")
    scores = logits(tmp_path / "fp32")
    assert 0.3 < scores.std() < 3
    assert np.abs(scores).max() < 30
