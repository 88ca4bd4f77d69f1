import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from model_store.convert import convert
from model_store.convert.silero import SOURCE_NAME, convolution_matrix
from model_store.errors import ConversionError
from tests.audio.speech import model


@pytest.mark.parametrize(("frames", "stride"), [(4, 1), (4, 2), (2, 2), (1, 1), (5, 2)])
def test_the_matrix_does_what_the_convolution_does(frames: int, stride: int) -> None:
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((6, 5, 3)).astype(np.float32)
    values = rng.standard_normal((frames, 5)).astype(np.float32)
    around = np.pad(values, ((1, 1), (0, 0)))
    expected = [np.einsum("oik,ki->o", weight, around[t : t + 3]) for t in range(0, frames, stride)]
    product = values.ravel() @ convolution_matrix(weight, frames=frames, stride=stride)
    np.testing.assert_allclose(product, np.ravel(expected), rtol=1e-4, atol=1e-5)


def test_builds_the_original_and_the_fast_graph(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copyfile(model("original"), source / SOURCE_NAME)
    built = convert("silero-onnx", source, tmp_path / "target")
    assert [(variant.variant, variant.parent) for variant in built] == [("original", None), ("fp32", "original")]
    assert (tmp_path / "target/original/vad.onnx").read_bytes() == model("original").read_bytes()
    onnx.checker.check_model(onnx.load(tmp_path / "target/fp32/vad.onnx"), full_check=True)


@pytest.mark.parametrize("content", [b"", b"no model at all", None])
def test_another_file_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        shutil.copyfile(model("fp32"), tmp_path / SOURCE_NAME)
    else:
        (tmp_path / SOURCE_NAME).write_bytes(content)
    with pytest.raises(ConversionError, match=SOURCE_NAME):
        convert("silero-onnx", tmp_path, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=SOURCE_NAME):
        convert("silero-onnx", tmp_path, tmp_path / "target")
