"""Moonshine is pruned as Whisper is: its heads are padded in the graphs, its decoder's neurons have gates."""

from functools import cache

import numpy as np
import pytest

from model_store.compress.calibration import Calibration
from model_store.compress.channels import neurons
from model_store.compress.context import Context
from model_store.compress.draft import Draft, matrices
from model_store.compress.examples import Example, Spoken, examples
from model_store.compress.probe import Probe
from model_store.compress.prune import Prune, prune
from model_store.compress.settings import EVERY
from model_store.compress.shrink import Shrink, shrink
from model_store.convert.graph import Floats
from model_store.convert.model import read
from model_store.convert.parameters import Form
from model_store.errors import CompressionError
from tests.live import recording
from tests.store import folder


@cache
def draft() -> Draft:
    return Draft(read(folder("moonshine-tiny", "fp32")))


@cache
def spoken() -> tuple[Example, ...]:
    clips = [Spoken(recording(name), "en") for name in ("en/quick_brown_fox", "en/counting")]
    return examples(folder("moonshine-tiny", "fp32"), clips, most=2, threads=1)


@cache
def seen() -> Context:
    return Context(Calibration(spoken, lambda _: 0.0, threads=1))


def logits(one: Draft) -> list[Floats]:
    probe = Probe(one.model, Form(), threads=1)
    return [probe.force(example, probe.encode(example))["logits"] for example in spoken()]


def test_without_neurons_is_with_zeros_for_them() -> None:
    shrunk = shrink(draft(), Shrink(step="shrink", neurons=0.25, refit="none"), seen())
    weights = dict(draft().model.weights)
    for block in neurons(draft().model, EVERY):
        name = f"{block.behind}.weight"
        left = {column.tobytes() for column in shrunk.model.weights[name].T}
        gone = [index for index, column in enumerate(weights[name].T) if column.tobytes() not in left]
        assert len(gone) == weights[name].shape[1] // 4
        weights[name] = weights[name].copy()
        weights[name][:, gone] = 0
    for ours, theirs in zip(logits(shrunk), logits(draft().having(weights)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert shrunk.model.weights["decoder.layers.0.mlp.fc1.weight"].shape == (2 * 864, 288)


@pytest.mark.parametrize("criterion", ["magnitude", "activation"])
def test_every_product_is_pruned_and_refitted(criterion: str) -> None:
    settings = {"step": "prune", "share": 0.3, "criterion": criterion, "scope": "matrix", "refit": "squares"}
    pruned = prune(draft(), Prune.model_validate(settings), seen())
    for name in matrices(draft().model, EVERY, frozenset({"linear"})):
        assert np.mean(pruned.model.weights[name] == 0) == pytest.approx(0.3, abs=1e-3)
    words = [one.argmax(axis=-1).ravel() for one in (*logits(pruned), *logits(draft()))]
    ours, theirs = np.concatenate(words[:2]), np.concatenate(words[2:])
    assert np.mean(ours == theirs) > 0.8


def test_its_layers_have_the_same_heads() -> None:
    with pytest.raises(CompressionError, match="take out neurons"):
        shrink(draft(), Shrink(step="shrink", heads=0.5), seen())
