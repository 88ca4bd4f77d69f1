import struct
from pathlib import Path

import numpy as np
import pytest

from model_store.convert.ctranslate2 import read_variables
from model_store.errors import ConversionError
from tests.convert.whisper_folders import Variables, model_bin

SAMPLE: Variables = {
    "encoder/conv1/weight": np.arange(24, dtype=np.float16).reshape(2, 3, 4),
    "decoder/embeddings/weight": np.arange(6, dtype=np.float32).reshape(3, 2),
    "a/b": np.array([-128, 127], np.int8),
    "shorts": np.array([[-300, 300]], np.int16),
    "scalar": np.array(7, np.int32),
}


def test_variables_of_every_type_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(model_bin(SAMPLE, {"again": "a/b"}))
    found = read_variables(path)
    assert list(found) == [*SAMPLE, "again"]
    for name, array in {**SAMPLE, "again": SAMPLE["a/b"]}.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


def test_a_file_cut_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    whole = model_bin(SAMPLE, {"again": "a/b"})
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ConversionError, match=r"model\.bin"):
            read_variables(path)


@pytest.mark.parametrize(
    "content",
    [
        b"this is a text file, and a longer one than any name in it " * 20,
        b"PK\x03\x04" + bytes(range(256)) * 8,
        b"\xff" * 2000,
        model_bin({}, {"again": "what is not there"}),
        model_bin({"odd": SAMPLE["shorts"]}).replace(struct.pack("<II", 1, 2), struct.pack("<II", 1, 3)),
        model_bin({"kind": SAMPLE["scalar"]}).replace(struct.pack("<BI", 3, 4), struct.pack("<BI", 9, 4)),
    ],
    ids=["text", "zip", "ones", "alias of nothing", "wrong shape", "unknown type"],
)
def test_another_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(ConversionError, match=r"model\.bin"):
        read_variables(path)


def test_a_file_of_zeros_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(bytes(2000))
    assert read_variables(tmp_path / "model.bin") == {}
