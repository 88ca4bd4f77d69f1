"""An encoder on OpenVINO makes the memories that the same graph makes on onnxruntime, whatever comes beside it."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest

from model_store.registry import Registry
from service.audio.types import SAMPLE_RATE, Samples
from service.backends.base import MASKED
from service.backends.onnx import OnnxBackend, OnnxMemory
from service.engine.device import read_device
from service.engine.loading import Loader
from service.errors import ModelUnavailable
from service.recognition.recognizer import Recognizer
from tests.audio.speech import talk
from tests.recognition.models import TINY, VARIANTS, backend, batch_of, clips, said, whisper
from tests.store import STORE, folder

openvino = pytest.importorskip("service.backends.openvino", exc_type=ModuleNotFoundError)

LENGTHS = (1, 1600, SAMPLE_RATE // 2, 55_555, 9 * SAMPLE_RATE, 30 * SAMPLE_RATE)

ROUNDING = 1e-3
"""Of a key or value, whose absolute values go up to 100."""


@cache
def ours(variant: str) -> OnnxBackend:
    path = folder(TINY, variant)
    encoder = openvino.OpenVinoEncoder(path / "encoder.onnx", threads=1, exact=variant == "fp32")
    return OnnxBackend(path, threads=1, encoder=encoder)


@cache
def windows() -> tuple[Samples, ...]:
    speech = np.tile(talk(), 3)
    return tuple(speech[:length] for length in LENGTHS)


def encoded(backend: OnnxBackend, *given: Samples) -> list[OnnxMemory]:
    return backend.encode(batch_of(whisper(), *given))


def cut(memory: OnnxMemory, length: int) -> list[np.ndarray]:
    return [a[..., :length] if index % 2 == 0 else a[:, :, :length] for index, a in enumerate(memory.layers)]


def assert_equal(one: OnnxMemory, other: OnnxMemory) -> None:
    np.testing.assert_array_equal(one.log_weights, other.log_weights)
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("length", range(len(LENGTHS)))
def test_float32_agrees_with_onnxruntime(length: int) -> None:
    (mine,), (theirs,) = (encoded(one, windows()[length]) for one in (ours("fp32"), backend(TINY, "fp32")))
    for a, b in zip(cut(mine, theirs.length), theirs.layers, strict=True):
        np.testing.assert_allclose(a, b, atol=ROUNDING)


def test_lengths_are_few_and_what_they_add_weighs_nothing() -> None:
    (memory,), (alone,) = (encoded(one, windows()[2]) for one in (ours("fp32"), backend(TINY, "fp32")))
    assert memory.length == -(-alone.length // openvino.STEP) * openvino.STEP
    np.testing.assert_array_equal(memory.log_weights[:, : alone.length], alone.log_weights)
    assert (memory.log_weights[:, alone.length :] == MASKED).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_row_of_a_padded_batch_is_encoded_as_alone(variant: str) -> None:
    given = windows()[:5]
    for row, window in zip(encoded(ours(variant), *given), given, strict=True):
        assert_equal(row, *encoded(ours(variant), window))


def test_threads_share_an_encoder() -> None:
    given = windows()[1:5] * 3
    alone = {len(window): encoded(ours("int8"), window)[0] for window in given}
    with ThreadPoolExecutor(4) as threads:
        for window, (memory,) in zip(given, threads.map(lambda one: encoded(ours("int8"), one), given), strict=True):
            assert_equal(memory, alone[len(window)])


def test_a_memory_outlives_the_encodings_after_it() -> None:
    (first,) = encoded(ours("int8"), windows()[3])
    kept = [layer.copy() for layer in first.layers]
    encoded(ours("int8"), windows()[3][::-1].copy())
    for layer, before in zip(first.layers, kept, strict=True):
        np.testing.assert_array_equal(layer, before)


def test_it_hears_what_onnxruntime_hears() -> None:
    mine, theirs = (Recognizer(one, whisper()) for one in (ours("fp32"), backend(TINY, "fp32")))
    for clip in clips():
        assert said(mine, clip) == said(theirs, clip)


@pytest.mark.parametrize("length", [3, 4])
def test_int8_is_as_close_to_float32_as_onnxruntime_s(length: int) -> None:
    (exact,), (mine,), (theirs,) = (
        encoded(one, windows()[length]) for one in (backend(TINY, "fp32"), ours("int8"), backend(TINY, "int8"))
    )
    assert distance(mine, exact) < distance(theirs, exact) < 0.1


def distance(memory: OnnxMemory, exact: OnnxMemory) -> float:
    """Of all keys and values, by their size."""
    pairs = list(zip(cut(memory, exact.length), exact.layers, strict=True))
    wrong, right = sum(((a - b) ** 2).sum() for a, b in pairs), sum((b**2).sum() for _, b in pairs)
    return float(np.sqrt(wrong / right))


def test_the_manifest_names_the_runtime() -> None:
    registry = Registry(STORE)
    manifest = registry.get(TINY, "int8").model_copy(update={"runtime": "openvino"})
    recognizer = Loader(registry, read_device(), threads=2, executors=1).measure(manifest).recognizer
    (memory,) = recognizer.backend.encode(batch_of(whisper(), windows()[2]))
    assert memory.length % openvino.STEP == 0


def test_another_family_is_refused() -> None:
    registry = Registry(STORE)
    manifest = registry.get("moonshine-tiny", "int8").model_copy(update={"runtime": "openvino"})
    with pytest.raises(ModelUnavailable, match="only Whisper's encoder runs on OpenVINO"):
        Loader(registry, read_device(), threads=1, executors=1).measure(manifest)
