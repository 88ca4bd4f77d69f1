from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from model_store.compress.context import Context
from model_store.compress.draft import matrices, place
from model_store.compress.quantise import FORMS, FormName, Quantise, quantise
from model_store.compress.recipe import read, shipped
from model_store.compress.run import compressed
from model_store.convert.blocks import Blocks
from model_store.convert.formats import Float, Int8Dynamic
from model_store.convert.model import write
from model_store.convert.torch_tensors import BFloat16, Int8Rows
from model_store.errors import CompressionError
from tests.compress.drafts import calibration, small_draft, tiny_draft
from tests.convert.test_torch_tensors import contents

EVERYWHERE = frozenset({"linear", "embedding", "other"})
TORCH_ONLY: tuple[FormName, ...] = ("bf16", "int8-rows", "int8-rows-weights")


def test_every_form_has_a_name() -> None:
    assert set(FORMS) == set(get_args(FormName))


def test_places_are_told_by_names() -> None:
    assert place("decoder.embed_tokens.weight") == "embedding"
    assert place("encoder.layers.3.self_attn.q_proj.weight") == "linear"
    assert place("encoder.conv1.weight") == place("decoder.embed_positions.weight") == "other"
    assert place("encoder.layers.3.fc1.bias") is place("decoder.layer_norm.weight") is None


def test_only_what_matches_and_can_be_so_is_formed() -> None:
    draft = quantise(small_draft(), Quantise(step="quantise", form="int8", layers=("decoder.*",)), Context())
    assert set(draft.form.formats.values()) == {Int8Dynamic("channel")}
    assert all(name.startswith("decoder.layers.") for name in draft.form.formats)
    assert "decoder.embed_tokens.weight" not in draft.form.formats


def test_a_pattern_that_matches_nothing_is_told() -> None:
    step = Quantise(step="quantise", form="int8", layers=("decoder.*", "decoder.nolayer*"))
    with pytest.raises(CompressionError, match=r"called 'decoder\.nolayer\*'"):
        quantise(small_draft(), step, Context())


def test_later_steps_go_before_earlier_ones() -> None:
    draft = compressed(small_draft(), shipped("int8"))
    assert set(draft.form.formats) == set(matrices(draft.model, ("*",), EVERYWHERE))
    assert draft.form.formats["encoder.layers.0.fc1.weight"] == Int8Dynamic("channel")
    assert draft.form.formats["decoder.layers.1.encoder_attn.k_proj.weight"] == Int8Dynamic("channel")
    assert draft.form.formats["decoder.layers.1.encoder_attn.q_proj.weight"] == Blocks(8, "int8")
    assert draft.form.formats["decoder.embed_tokens.weight"] == Blocks(8, "int8")
    assert draft.form.formats["encoder.conv1.weight"] == Float(16)


def test_the_weights_stay_as_they_are() -> None:
    draft = compressed(small_draft(), shipped("int8"))
    assert draft.model is small_draft().model


@pytest.mark.parametrize("form", ["int8-static", "int8-static-tensor"])
def test_a_static_form_asks_for_recordings(form: FormName) -> None:
    with pytest.raises(CompressionError, match="--calibration"):
        quantise(small_draft(), Quantise(step="quantise", form=form), Context())


@pytest.mark.parametrize(
    ("form", "nats"),
    [
        # measured on these clips: 0.0000, 0.0012, 0.0024, 0.0004, 0.001, 0.05
        ("fp16", 1e-4),
        ("int8-blocks", 0.01),
        ("int8-tensor", 0.05),
        ("int8-weights", 0.01),
        ("codebook8", 0.05),
        ("int4", 1.0),
        ("int8-static", 1.0),
        ("bf16", 0.01),
        ("int8-rows", 0.01),
    ],
)
def test_the_next_tokens_stay_near_those_of_float32(form: FormName, nats: float) -> None:
    seen = calibration(real=True)
    draft = quantise(tiny_draft(), Quantise(step="quantise", form=form), Context(seen))
    (divergence,) = seen.divergence(tiny_draft(), [draft.form])
    assert abs(divergence) < nats


def plain(form: str, runtime: str) -> bytes:
    """A recipe that prunes, and puts all in one form."""
    return f"""
name = "mine"
precision = "mixed"
runtime = "{runtime}"
[[steps]]
step = "prune"
share = 0.3
[[steps]]
step = "quantise"
form = "{form}"
""".encode()


def test_int8_on_torch_leaves_the_convolutions_in_bfloat16() -> None:
    formats = compressed(small_draft(), shipped("int8-torch")).form.formats
    assert formats["decoder.embed_tokens.weight"] == formats["encoder.layers.0.fc1.weight"] == Int8Rows("int8")
    assert formats["encoder.conv1.weight"] == formats["decoder.embed_positions.weight"] == BFloat16()


@pytest.mark.parametrize("form", [name for name in FORMS if name not in ("fp32", "fp16", *TORCH_ONLY)])
def test_forms_that_torch_has_not_are_refused_with_those_it_has(form: FormName) -> None:
    with pytest.raises(CompressionError, match=r"on torch .* one of fp32, fp16, bf16, int8-rows, int8-rows-weights"):
        compressed(small_draft(), read(plain(form, "torch"), origin="mine.toml"))


@pytest.mark.parametrize("form", TORCH_ONLY)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_forms_that_only_torch_has_are_refused_elsewhere(form: FormName, runtime: str) -> None:
    with pytest.raises(CompressionError, match=rf"on {runtime} no matrix can be in the form '{form}'; use one"):
        compressed(small_draft(), read(plain(form, runtime), origin="mine.toml"))


def test_what_a_group_may_be_lowered_to_is_refused_before_anything_is_measured() -> None:
    recipe = plain("fp16", "torch") + b'[[steps]]\nstep = "hierarchical"\nlow = "int4"\nsize = 0.5'
    with pytest.raises(CompressionError, match=r"step hierarchical .* 'int4'"):
        compressed(small_draft(), read(recipe, origin="mine.toml"))


def test_a_pruned_model_is_written_for_torch(tmp_path: Path) -> None:
    draft = compressed(small_draft(), read(plain("fp16", "torch"), origin="mine.toml"))
    write(draft.model, draft.form, tmp_path / "pruned", runtime="torch")
    tensors, facts = contents(tmp_path / "pruned")
    assert facts["compute"] == "float16"
    for name in matrices(draft.model, ("*",), frozenset({"linear"})):
        np.testing.assert_array_equal(tensors[name], draft.model.weights[name].astype(np.float16))
        assert np.mean(tensors[name] == 0) > 0.2
