"""A student has its teacher's layers under new numbers, and computes what they compute."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from model_store.compress.context import Context
from model_store.compress.probe import Probe
from model_store.compress.steps import carry_out
from model_store.compress.student import Student, spread
from model_store.config import MoonshineConfig, WhisperConfig
from model_store.convert.parameters import Form
from model_store.errors import CompressionError
from tests.compress.drafts import calibration, small_draft, small_examples


def settings(**given: object) -> Student:
    return Student.model_validate({"step": "student", **given})


@pytest.mark.parametrize(
    ("there", "count", "layers"), [(4, 2, (0, 3)), (6, 3, (0, 2, 5)), (4, 1, (0,)), (4, 4, (0, 1, 2, 3))]
)
def test_layers_are_spread(there: int, count: int, layers: tuple[int, ...]) -> None:
    assert spread(there, count) == layers


def test_layers_are_the_teachers_and_the_graphs_run() -> None:
    teacher = small_draft().model.weights
    made = carry_out(small_draft(), settings(encoder_layers=1, decoder_layers=[1]), Context()).model
    assert not any(".layers.1." in name for name in made.weights)
    for ours, theirs in (("encoder.layers.0", "encoder.layers.0"), ("decoder.layers.0", "decoder.layers.1")):
        np.testing.assert_array_equal(made.weights[f"{ours}.fc1.weight"], teacher[f"{theirs}.fc1.weight"])
    assert isinstance(made.config, WhisperConfig)
    assert made.config.alignment_heads == ((0, 1),)
    probe = Probe(made, Form(), threads=1)
    assert all(np.isfinite(probe.force(one, probe.encode(one))["logits"]).all() for one in small_examples())


def test_where_no_head_aligns_the_upper_half_does() -> None:
    config = small_draft().model.config.model_copy(update={"alignment_heads": ((1, 1),)})
    draft = small_draft().having(small_draft().model.weights, config)
    made = carry_out(draft, settings(decoder_layers=1), Context()).model
    assert isinstance(made.config, WhisperConfig)
    assert made.config.alignment_heads == ((0, 0), (0, 1))


@pytest.mark.parametrize("context", [Context(), Context(calibration(real=False))], ids=["weights", "recordings"])
def test_neurons_that_stay_are_a_share_and_the_same_each_time(context: Context) -> None:
    first, second = (carry_out(small_draft(), settings(neurons=0.25), context).model.weights for _ in range(2))
    assert first["encoder.layers.1.fc1.weight"].shape == (24, 128)
    assert first["decoder.layers.1.fc2.weight"].shape == (128, 24)
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"encoder_layers": 3}, "the encoder has 2 layers, not 3"),
        ({"decoder_layers": [2]}, "the decoder has no layer 2"),
        ({"decoder_layers": [1, 0]}, "ascending"),
        ({}, "as large as its teacher"),
    ],
)
def test_what_cannot_be_is_said(given: dict[str, object], told: str) -> None:
    with pytest.raises(CompressionError, match=told):
        carry_out(small_draft(), settings(**given), Context())


@pytest.mark.parametrize("given", [{"encoder_layers": 0}, {"decoder_layers": []}, {"neurons": 0}])
def test_nothing_is_no_student(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        settings(**given)


def test_other_families_are_refused() -> None:
    other = replace(small_draft().model, family="moonshine", config=MoonshineConfig.model_construct())
    with pytest.raises(CompressionError, match="of moonshine"):
        carry_out(replace(small_draft(), model=other), settings(decoder_layers=1), Context())
