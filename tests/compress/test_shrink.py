"""What goes, goes from all matrices around it, and the rest computes what the whole did with zeros in its place."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from model_store.compress.channels import heads, neurons
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.fit import fit
from model_store.compress.moments import Moments
from model_store.compress.probe import Probe
from model_store.compress.prune import Prune
from model_store.compress.quantise import Quantise
from model_store.compress.settings import EVERY
from model_store.compress.shrink import Shrink, shrink
from model_store.compress.steps import Step, carry_out
from model_store.config import WhisperConfig
from model_store.convert.graph import Floats
from model_store.convert.model import Model, write
from model_store.convert.parameters import Form
from model_store.errors import CompressionError
from service.backends.base import EncoderBatch
from service.backends.onnx import OnnxBackend
from tests.compress.drafts import calibration, small_draft, small_examples

SEEN = Context(calibration(real=False))


def settings(**given: object) -> Shrink:
    return Shrink.model_validate({"step": "shrink", "refit": "none", **given})


def logits(draft: Draft, form: Form | None = None) -> list[Floats]:
    probe = Probe(draft.model, form or Form(), threads=1)
    return [probe.force(one, probe.encode(one))["logits"] for one in small_examples()]


def alignment(draft: Draft) -> tuple[tuple[int, int], ...]:
    assert isinstance(draft.model.config, WhisperConfig)
    return draft.model.config.alignment_heads


def aligned(pairs: tuple[tuple[int, int], ...]) -> Draft:
    draft = small_draft()
    return draft.having(draft.model.weights, draft.model.config.model_copy(update={"alignment_heads": pairs}))


def masked(draft: Draft, columns: Mapping[str, np.ndarray[tuple[int], np.dtype[np.int64]]]) -> Draft:
    """With zeros for these columns."""
    weights = dict(draft.model.weights)
    for name, gone in columns.items():
        weights[name] = weights[name].copy()
        weights[name][:, gone] = 0
    return draft.having(weights)


def gone(draft: Draft, shrunk: Draft, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The columns of a matrix that are not in the shrunk one."""
    left = {column.tobytes() for column in shrunk.model.weights[name].T}
    return np.array([i for i, column in enumerate(draft.model.weights[name].T) if column.tobytes() not in left])


@pytest.mark.parametrize("recordings", [Context(), SEEN], ids=["by weights", "by recordings"])
def test_without_heads_is_with_zeros_for_them(recordings: Context) -> None:
    draft = aligned(((1, 1),))
    shrunk = shrink(draft, settings(heads=0.5), recordings)
    names = [f"{one.behind}.weight" for one in heads(draft.model, EVERY)]
    columns = {name: gone(draft, shrunk, name) for name in names}
    assert {len(one) for one in columns.values()} == {64}
    for ours, theirs in zip(logits(shrunk), logits(masked(draft, columns)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert shrunk.model.weights["encoder.layers.0.self_attn.k_proj.weight"].shape == (64, 128)
    assert shrunk.model.weights["decoder.layers.0.self_attn.v_proj.bias"].shape == (64,)


def test_without_neurons_is_with_zeros_for_them() -> None:
    shrunk = shrink(small_draft(), settings(neurons=0.25, blocks=["encoder.*"]), SEEN)
    names = [f"{one.behind}.weight" for one in neurons(small_draft().model, ("encoder.*",))]
    columns = {name: gone(small_draft(), shrunk, name) for name in names}
    assert {len(one) for one in columns.values()} == {24}
    for ours, theirs in zip(logits(shrunk), logits(masked(small_draft(), columns)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert shrunk.model.weights["decoder.layers.0.fc1.weight"].shape == (96, 128)


def test_layers_go_and_the_others_are_numbered_anew() -> None:
    shrunk = shrink(small_draft(), settings(layers=["decoder.layers.0", "encoder.layers.1"]), Context())
    assert not any(".layers.1." in name for name in shrunk.model.weights)
    for ours, theirs in (("decoder.layers.0", "decoder.layers.1"), ("encoder.layers.0", "encoder.layers.0")):
        np.testing.assert_array_equal(
            shrunk.model.weights[f"{ours}.fc1.weight"], small_draft().model.weights[f"{theirs}.fc1.weight"]
        )
    assert alignment(small_draft()) == ((1, 1), (0, 0))
    assert alignment(shrunk) == ((0, 1),)
    assert all(np.isfinite(one).all() for one in logits(shrunk))


def test_alignment_heads_stay_and_are_found_again() -> None:
    draft = aligned(((0, 1), (1, 0)))
    shrunk = shrink(draft, settings(heads=0.5, blocks=["*.encoder_attn"]), Context())
    assert alignment(shrunk) == ((0, 0), (1, 0))
    for layer, rows in ((0, slice(64, 128)), (1, slice(0, 64))):
        name = f"decoder.layers.{layer}.encoder_attn.q_proj.weight"
        np.testing.assert_array_equal(shrunk.model.weights[name], draft.model.weights[name][rows])


def test_one_head_is_left_and_all_that_align() -> None:
    draft = aligned(((0, 0), (0, 1)))
    shrunk = shrink(draft, settings(heads=0.99), Context())
    rows = {name: len(weight) for name, weight in shrunk.model.weights.items() if name.endswith("q_proj.weight")}
    assert rows.pop("decoder.layers.0.encoder_attn.q_proj.weight") == 128
    assert set(rows.values()) == {64}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"layers": ["decoder.layers.*"]}, "no layer of the decoder would be left"),
        ({"layers": ["decoder.layer.0"]}, r"no layer is called decoder\.layer\.0"),
        ({"heads": 0.5, "blocks": ["encoder.layers.7*"]}, "it takes out nothing"),
        ({"neurons": 0.5, "refit": "squares"}, "--calibration"),
    ],
)
def test_what_cannot_be_is_said(given: dict[str, object], told: str) -> None:
    with pytest.raises(CompressionError, match=told):
        shrink(small_draft(), settings(**given), Context())


def test_a_head_that_aligns_must_be_left() -> None:
    with pytest.raises(CompressionError, match="word times"):
        shrink(aligned(((1, 1),)), settings(layers=["decoder.layers.1"]), Context())


def test_what_recordings_never_use_is_no_loss_and_refitting_makes_up_for_more() -> None:
    """Input 2 is zero, input 3 is twice input 1 and one more: either of the two can stand in for the other."""
    random = np.random.default_rng(1)
    x = random.normal(2, 1, (500, 4))
    x[:, 2], x[:, 3] = 0, 2 * x[:, 1] + 1
    (channels, *_) = neurons(_of_four(), EVERY)
    weight = np.array([[1, 5, 9, 5], [2, 5, 9, 5]], np.float32)
    seen = Moments(x.mean(axis=0), x.T @ x / len(x))
    idle = fit(channels, weight, seen, count=1, refit="none")
    assert idle.kept.tolist() == [0, 1, 3]
    losses = {}
    for refit in ("none", "mean", "squares"):
        found = fit(channels, weight, seen, count=2, refit=refit)
        losses[refit] = float(np.square(x[:, found.kept] @ found.weight.T + found.bias - x @ weight.T).mean())
        assert len(found.kept) == 2
    assert losses["squares"] < 0.02 * losses["mean"]
    assert losses["mean"] <= losses["none"]


def _of_four() -> Model:
    weights = {
        "encoder.layers.0.fc1.weight": np.zeros((4, 2), np.float32),
        "encoder.layers.0.fc2.weight": np.zeros((2, 4), np.float32),
    }
    return small_draft().model.having(weights)


def test_refitting_brings_the_model_closer() -> None:
    exact = logits(small_draft())

    def loss(refit: str) -> float:
        shrunk = shrink(small_draft(), settings(neurons=0.5, refit=refit, blocks=["encoder.*"]), SEEN)
        return sum(float(np.square(one - other).mean()) for one, other in zip(logits(shrunk), exact, strict=True))

    assert loss("squares") < loss("mean") < loss("none")


@pytest.mark.parametrize("first", [0, 1])
def test_steps_combine(first: int) -> None:
    steps: list[Step] = [settings(heads=0.5, neurons=0.25), Quantise(step="quantise", form="int8")]
    draft = small_draft()
    for step in (steps[first], steps[1 - first], Prune(step="prune", share=0.3, criterion="magnitude")):
        draft = carry_out(draft, step, Context())
    assert all(np.isfinite(one).all() for one in logits(draft, draft.form))
    assert np.mean(draft.model.weights["encoder.layers.0.fc1.weight"] == 0) == pytest.approx(0.3, abs=0.01)


def test_the_same_comes_out_again() -> None:
    one, other = (shrink(small_draft(), settings(heads=0.5, neurons=0.5, refit="squares"), SEEN) for _ in range(2))
    assert all(np.array_equal(weight, other.model.weights[name]) for name, weight in one.model.weights.items())


def test_rows_of_a_shrunk_variant_do_not_mix(tmp_path: Path) -> None:
    """Its layers differ in heads, within and among themselves."""
    draft = shrink(aligned(((1, 1),)), settings(heads=0.5, blocks=["decoder.layers.0.encoder_attn"]), Context())
    draft = shrink(draft, settings(heads=0.5, blocks=["*.1.self_attn"]), Context())
    write(draft.model, Form(), tmp_path / "variant")
    backend = OnnxBackend(tmp_path / "variant", threads=1)
    memories = [backend.encode(EncoderBatch.of([one.features]))[0] for one in small_examples()]
    texts = np.array([one.tokens[:-1] for one in small_examples()])
    together = backend.open(capacity=2, length=max(memory.length for memory in memories))
    for memory in memories:
        together.join(memory)
    both = together.step(texts).logits.copy()
    assert backend.row_bytes(8) == 4 * 2 * 64 * (3 * 448 + 3 * 8)
    for memory, text, row in zip(memories, texts, both, strict=True):
        alone = backend.open(capacity=1, length=memory.length)
        alone.join(memory)
        np.testing.assert_allclose(alone.step(text[None]).logits[0], row, atol=1e-4)
