"""A base variant is the model as trained, and every variant of floats computes the same from it."""

from pathlib import Path

import numpy as np
import pytest

from model_store.convert.formats import Float
from model_store.convert.graph import Floats
from model_store.convert.model import Model, read, write
from model_store.convert.moonshine_source import read_ort
from model_store.convert.parameters import Form
from model_store.errors import ConversionError
from service.backends.base import EncoderBatch
from service.backends.onnx import OnnxBackend
from service.recognition.families import load
from tests.audio.speech import recording
from tests.convert.originals import original
from tests.convert.whisper_folders import small, tiny

MODELS = {
    "whisper": lambda: Model.of_whisper(tiny()),
    "moonshine": lambda: Model.of_moonshine(read_ort(original("moonshine-tiny"))),
}


def logits(folder: Path) -> Floats:
    """Of a few tokens behind a short recording."""
    backend, family = OnnxBackend(folder, threads=1), load(folder)
    (memory,) = backend.encode(EncoderBatch.of([family.features(recording("en/hello_world"), full=False)]))
    rows = backend.open(capacity=1, length=memory.length)
    rows.join(memory)
    return rows.step(np.array([[1, 50, 7, 99]]), wanted=(0, 1, 2, 3)).logits.copy()


@pytest.mark.parametrize("family", MODELS)
def test_graphs_that_refer_to_tensors_compute_what_graphs_that_hold_them_do(family: str, tmp_path: Path) -> None:
    """The operations that make a matrix of stored tensors are carried out by the runtime, the values by numpy."""
    model = MODELS[family]()
    write(model, Form(), tmp_path / "refers")
    held = Form({"nothing of that name": Float(32)})
    write(model, held, tmp_path / "holds")
    assert (tmp_path / "refers" / "encoder.onnx").stat().st_size < 1_000_000
    assert not (tmp_path / "holds" / "weights.safetensors").exists()
    np.testing.assert_array_equal(logits(tmp_path / "refers"), logits(tmp_path / "holds"))


@pytest.mark.parametrize("family", MODELS)
def test_a_base_variant_is_read_back_whole(family: str, tmp_path: Path) -> None:
    model = MODELS[family]()
    write(model, Form(), tmp_path / "one")
    again = read(tmp_path / "one")
    assert (again.family, again.config) == (model.family, model.config)
    assert set(again.weights) == set(model.weights)
    assert all(np.array_equal(again.weights[name], weight) for name, weight in model.weights.items())
    write(again, Form(), tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_half_precision_takes_half_the_bytes_and_computes_alike(tmp_path: Path) -> None:
    model = Model.of_whisper(tiny())
    write(model, Form(), tmp_path / "fp32")
    matrices = [name for name, weight in model.weights.items() if weight.ndim > 1]
    write(model, Form(dict.fromkeys(matrices, Float(16))), tmp_path / "fp16")
    sizes = [sum(path.stat().st_size for path in (tmp_path / one).iterdir()) for one in ("fp16", "fp32")]
    assert sizes[0] < 0.51 * sizes[1] + 2_200_000  # the tokenizer is the same in both
    np.testing.assert_allclose(logits(tmp_path / "fp16"), logits(tmp_path / "fp32"), atol=0.05)


def test_matrices_that_are_not_named_keep_their_full_precision(tmp_path: Path) -> None:
    """One file of tensors has one width, so where the matrices' differ they are held by the graphs."""
    model = Model.of_whisper(small())
    matrices = [name for name, weight in model.weights.items() if weight.ndim > 1]
    write(model, Form(dict.fromkeys(matrices, Float(16))), tmp_path / "all")
    write(model, Form(dict.fromkeys(matrices[1:], Float(16))), tmp_path / "most")
    assert (tmp_path / "all" / "weights.safetensors").exists()
    assert not (tmp_path / "most" / "weights.safetensors").exists()


def test_a_variant_without_tensors_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="missing"):
        read(tmp_path)


@pytest.mark.parametrize("kept", [0, 4, 100, -9])
def test_cut_tensors_are_refused(kept: int, tmp_path: Path) -> None:
    write(Model.of_whisper(small()), Form(), tmp_path / "cut")
    path = tmp_path / "cut" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ConversionError, match=r"weights\.safetensors"):
        read(tmp_path / "cut")


def test_files_can_be_read_by_others(tmp_path: Path) -> None:
    write(Model.of_whisper(small()), Form(), tmp_path / "fp32")
    assert all(path.stat().st_mode & 0o044 for path in (tmp_path / "fp32").iterdir())
