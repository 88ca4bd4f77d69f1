"""What torch is given reads back to the weights that went in, to what their forms allow."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from model_store.compress.draft import Draft, matrices
from model_store.compress.recipe import shipped
from model_store.compress.run import compressed
from model_store.convert.formats import Float, Format, Int8Dynamic
from model_store.convert.graph import Array, Floats
from model_store.convert.model import Model, read, write
from model_store.convert.parameters import Form
from model_store.convert.torch_tensors import BFloat16, Int8Rows, formed
from model_store.errors import CompressionError, ConversionError
from tests.compress.drafts import small_draft
from tests.store import folder as store_folder

MODELS = ("whisper-tiny.en", "whisper-base", "moonshine-tiny")
RECIPES = ("fp16-torch", "bf16-torch", "int8-torch", "int8-weights-torch")
FORMATS: Mapping[str, tuple[Format, str]] = {
    "fp32": (Float(32), "float32"),
    "fp16": (Float(16), "float16"),
    "bf16": (BFloat16(), "bfloat16"),
}


def model(name: str) -> Model:
    return read(store_folder(name, "fp32"))


def written(model: Model, recipe: str, target: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors of the variant that a shipped recipe makes, and its facts."""
    draft = compressed(Draft(model), shipped(recipe))
    write(draft.model, draft.form, target, runtime="torch")
    assert {path.name for path in target.iterdir()} == {"weights.safetensors", "config.json", "tokenizer.json"}
    return contents(target)


def contents(target: Path) -> tuple[dict[str, Array], dict[str, str]]:
    with safe_open(target / "weights.safetensors", "numpy") as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, json.loads(file.metadata()["wren"])


def nearest_bfloat16(values: Floats) -> Floats:
    """The upper 16 bits, to the nearest and half to even (IEEE 754, 4.3.1), bit by bit."""
    bits = values.view(np.uint32).astype(np.uint64)
    bits += 0x7FFF + (bits >> 16 & 1)
    return (bits >> 16 << 16).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("recipe", "kind"), [("fp16-torch", "float16"), ("bf16-torch", "bfloat16")])
def test_matrices_of_floats_are_rounded_to_the_nearest(name: str, recipe: str, kind: str, tmp_path: Path) -> None:
    original = model(name)
    tensors, facts = written(original, recipe, tmp_path / "variant")
    assert facts == {"family": original.family, **original.facts, "compute": kind}
    assert set(tensors) == set(original.weights)
    for tensor, weight in original.weights.items():
        if weight.ndim == 1:
            np.testing.assert_array_equal(tensors[tensor], weight, strict=True)
            continue
        assert tensors[tensor].dtype.name == kind
        expected = weight.astype(np.float16) if kind == "float16" else nearest_bfloat16(weight)
        np.testing.assert_array_equal(tensors[tensor].astype(np.float32), expected)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("recipe", "products"), [("int8-torch", "dynamic"), ("int8-weights-torch", "weights")])
def test_integers_and_scales_come_to_half_a_step_of_the_weights(
    name: str, recipe: str, products: str, tmp_path: Path
) -> None:
    original = model(name)
    tensors, facts = written(original, recipe, tmp_path / "variant")
    assert (facts["compute"], facts["int8"]) == ("bfloat16", products)
    integers = {tensor for tensor, kept in tensors.items() if kept.dtype == np.int8}
    assert integers == set(matrices(original, ("*",), frozenset({"linear", "embedding"})))
    assert set(tensors) == set(original.weights) | {f"{tensor}_scale" for tensor in integers}
    for tensor in integers:
        kept, scale, weight = tensors[tensor], tensors[f"{tensor}_scale"], original.weights[tensor]
        assert (scale.dtype.name, scale.shape) == ("float32", (len(weight),))
        step = scale.astype(np.float32)[:, None]
        assert np.all(np.abs(kept.astype(np.float32) * step - weight) <= 0.5001 * step)
    kernel = "encoder.conv2.weight"
    np.testing.assert_array_equal(tensors[kernel].astype(np.float32), nearest_bfloat16(original.weights[kernel]))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_bytes_come_every_time(recipe: str, tmp_path: Path) -> None:
    for attempt in ("one", "two"):
        written(small_draft().model, recipe, tmp_path / attempt)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(("name", "expected"), FORMATS.items())
def test_what_is_computed_in_is_the_form_of_the_floats(name: str, expected: tuple[Format, str]) -> None:
    form, compute = expected
    weights = {"a.fc1.weight": np.ones((2, 3), np.float32), "a.fc1.bias": np.ones(2, np.float32)}
    kept, facts = formed(weights, Form({"a.fc1.weight": form}))
    assert (facts, kept["a.fc1.weight"].dtype.name) == ({"compute": compute}, compute)


@pytest.mark.parametrize(
    "formats",
    [
        {"a": Float(16)},  # b is in float32
        {"a": Float(16), "b": BFloat16()},
        {"a": Int8Rows("int8"), "b": Int8Rows("float")},
    ],
)
def test_one_form_of_floats_and_one_of_integers_are_a_variant_s(formats: Mapping[str, Format]) -> None:
    weights = dict.fromkeys(("a", "b"), np.ones((2, 3), np.float32))
    with pytest.raises(CompressionError, match="begin with fp16 or bf16 for all layers"):
        formed(weights, Form(formats))


def test_a_row_of_zeros_stays_one() -> None:
    kept, _ = formed({"a": np.zeros((2, 3), np.float32)}, Form({"a": Int8Rows()}))
    assert not kept["a"].any()
    assert np.isfinite(kept["a_scale"].astype(np.float32)).all()


def test_a_form_that_only_graphs_have_is_a_mistake_here() -> None:
    with pytest.raises(TypeError, match="a is in Int8Dynamic"):
        formed({"a": np.ones((2, 3), np.float32)}, Form({"a": Int8Dynamic()}))


def test_a_variant_for_torch_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    written(small_draft().model, "int8-torch", tmp_path / "variant")
    with pytest.raises(ConversionError, match="made for torch"):
        read(tmp_path / "variant")


def test_the_base_variant_stays_as_it_was(tmp_path: Path) -> None:
    """The digests of what is pulled are those that its evaluations were made for."""
    write(model("moonshine-tiny"), Form(), tmp_path / "fp32")
    for path in (tmp_path / "fp32").iterdir():
        before = store_folder("moonshine-tiny", "fp32") / path.name
        assert sha256(path.read_bytes()).digest() == sha256(before.read_bytes()).digest(), path.name
