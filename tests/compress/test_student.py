"""A student has its teacher's layers under new numbers, and computes what they compute."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from model_store.compress.compute import compute
from model_store.compress.context import Context
from model_store.compress.gradients import Forward
from model_store.compress.probe import Probe
from model_store.compress.steps import carry_out
from model_store.compress.student import Student, separated, spread
from model_store.config import MoonshineConfig, WhisperConfig
from model_store.convert.model import read, write
from model_store.convert.parameters import Form
from model_store.errors import CompressionError
from model_store.train import network
from service.backends.base import EncoderBatch
from service.backends.onnx import OnnxBackend
from service.backends.torch.backend import TorchBackend
from service.recognition.families.whisper import padded
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


def test_a_separable_kernel_is_separated_exactly() -> None:
    random = np.random.default_rng(4)
    along, across = random.normal(size=(80, 1, 3)), random.normal(size=(128, 80))
    weights = dict(small_draft().model.weights)
    weights["encoder.conv1.weight"] = (across[:, :, None] * along[:, 0][None]).astype(np.float32)
    found = separated(weights)
    again = found["encoder.conv1.pointwise.weight"] * found["encoder.conv1.depthwise.weight"][:, 0][None]
    np.testing.assert_allclose(again, weights["encoder.conv1.weight"], atol=1e-5)
    assert "encoder.conv1.weight" not in found
    assert set(separated(found)) == set(found)


def test_a_separable_front_end_is_computed_alike_by_all(tmp_path: Path) -> None:
    made = carry_out(small_draft(), settings(front="separable"), Context())
    example = small_examples()[1]
    probe = Probe(made.model, Form(), threads=1)
    wanted = probe.force(example, probe.encode(example))["logits"][0]
    ours = Forward(made.model.weights).logits(example).detach().numpy()[list(example.wanted)]
    np.testing.assert_allclose(ours, wanted, atol=2e-3)
    features = example.features
    arrays = (features.values, features.frames, features.positions, features.log_weights)
    windows = network.Windows(*(torch.from_numpy(np.array(one))[None] for one in arrays))
    weights = {name: torch.from_numpy(np.array(one)) for name, one in made.model.weights.items()}
    memory = network.encoded(weights, windows)
    hidden = network.decoded(weights, torch.tensor([example.tokens[:-1]]), memory, windows.log_weights)
    np.testing.assert_allclose(network.logits(weights, hidden)[0].numpy()[list(example.wanted)], wanted, atol=2e-3)
    saved = compute(small_draft().model, 600).window - compute(made.model, 600).window
    assert saved > 0


def test_a_separable_student_runs_on_both_runtimes(tmp_path: Path) -> None:
    made = carry_out(small_draft(), settings(front="separable", decoder_layers=1), Context()).model
    write(made, Form(), tmp_path / "graphs")
    write(made, Form(), tmp_path / "tensors", runtime="torch")
    rows = EncoderBatch.of([small_examples()[1].features])
    (memory,) = OnnxBackend(tmp_path / "graphs", threads=1).encode(rows)
    assert memory.length == rows.lengths[0]
    read_back = read(tmp_path / "graphs")
    assert set(read_back.weights) == set(made.weights)
    backend = TorchBackend(tmp_path / "tensors", devices=(torch.device("cpu"),), threads=1)
    samples = np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32)
    asked = padded(samples, made.config.mel_bins, None, waveform=True)
    (other,) = backend.encode(EncoderBatch.of([asked]))
    assert other.length == asked.length
