import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.registry import Registry
from service.engine.device import read_device
from service.engine.loaded import KEPT, Loaded
from service.engine.loading import Loader
from service.errors import ModelUnavailable
from tests.audio.speech import recording
from tests.engine.stores import cut, linked_store
from tests.recognition.models import said
from tests.store import STORE

VARIANTS = ("whisper-tiny.en:int8", "whisper-tiny.en:fp32", "whisper-base:int8", "whisper-base:fp32")


def loaded_of(registry: Registry) -> Loaded:
    return Loaded(Loader(registry, read_device(), threads=1, executors=None))


def load(loaded: Loaded, registry: Registry, name: str) -> object:
    model, _, variant = name.partition(":")
    return loaded.get(registry.get(model, variant))


def test_a_variant_is_loaded_once() -> None:
    registry = Registry(STORE)
    loaded = loaded_of(registry)
    assert loaded.names() == ()
    assert load(loaded, registry, VARIANTS[0]) is load(loaded, registry, VARIANTS[0])
    assert loaded.names() == (VARIANTS[0],)


def test_the_least_lately_used_is_dropped_and_still_works() -> None:
    registry = Registry(STORE)
    loaded = loaded_of(registry)
    oldest = loaded.get(registry.get("whisper-tiny.en", "fp32"))
    for name in (VARIANTS[2], VARIANTS[0]):
        load(loaded, registry, name)
    assert len(loaded.names()) == KEPT
    load(loaded, registry, VARIANTS[2])
    load(loaded, registry, VARIANTS[3])
    assert set(loaded.names()) == {VARIANTS[0], VARIANTS[2], VARIANTS[3]}
    assert "fox" in said(oldest.recognizer, recording("en/quick_brown_fox"))


def test_a_build_that_replaced_another_is_loaded_in_its_place(tmp_path: Path) -> None:
    registry = Registry(linked_store(tmp_path / "store", "whisper-tiny.en/int8"))
    loaded = loaded_of(registry)
    before = loaded.get(registry.get("whisper-tiny.en", "int8"))
    folder = shutil.copytree(registry.path(before.manifest), tmp_path / "built")
    with (folder / "config.json").open("a") as config:
        config.write("\n")
    present = registry.add(before.manifest, folder)
    assert loaded.find(present) is None
    after = loaded.get(before.manifest)  # chosen just before it was replaced
    assert after is not before
    assert after.manifest.version == present.version > before.manifest.version
    assert loaded.find(present) is after
    assert loaded.names() == (VARIANTS[0],)
    assert "fox" in said(before.recognizer, recording("en/quick_brown_fox"))  # for those who still use it


def test_a_variant_that_was_removed_just_now_is_unavailable(tmp_path: Path) -> None:
    registry = Registry(linked_store(tmp_path, "whisper-tiny.en/int8"))
    manifest = registry.get("whisper-tiny.en", "int8")
    registry.remove("whisper-tiny.en")
    with pytest.raises(ModelUnavailable, match=r"The store has no 'whisper-tiny\.en:int8'"):
        loaded_of(registry).get(manifest)


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("fault", ["missing", "cut", "empty", "text", "changed"])
def test_a_damaged_file_makes_a_variant_unavailable(tmp_path: Path, name: str, fault: str) -> None:
    store = linked_store(tmp_path, "whisper-tiny.en/int8")
    path = store / "whisper-tiny.en" / "int8" / name
    content = path.read_bytes()
    if fault == "cut":
        cut(path)
    else:
        path.unlink()
    if fault == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    if fault in {"empty", "text"}:
        path.write_text("" if fault == "empty" else "This is no model.")
    registry = Registry(store)
    loaded = loaded_of(registry)
    with pytest.raises(ModelUnavailable, match=rf"The model 'whisper-tiny\.en:int8' cannot be loaded: .+ {name}: .+"):
        load(loaded, registry, VARIANTS[0])
    assert loaded.names() == ()


def test_graphs_of_another_model_make_a_variant_unavailable(tmp_path: Path) -> None:
    store = linked_store(tmp_path, "whisper-tiny.en/int8")
    path = store / "whisper-tiny.en" / "int8" / "decoder.onnx"
    path.unlink()
    path.symlink_to(STORE / "whisper-base" / "int8" / "decoder.onnx")
    registry = Registry(store)
    with pytest.raises(ModelUnavailable):
        load(loaded_of(registry), registry, VARIANTS[0])


def test_a_runtime_that_is_not_here_is_named() -> None:
    registry = Registry(STORE)
    manifest = registry.get("whisper-tiny.en", "int8").model_copy(update={"runtime": "torch"})
    with pytest.raises(ModelUnavailable, match="its runtime torch is not supported here"):
        loaded_of(registry).get(manifest)


def test_without_openvino_the_way_to_get_it_is_named() -> None:
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from tests.engine.test_loaded import Registry, STORE, loaded_of\n"
        "manifest = Registry(STORE).get('whisper-tiny.en', 'int8').model_copy(update={'runtime': 'openvino'})\n"
        "loaded_of(Registry(STORE)).get(manifest)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'cannot be loaded: it needs OpenVINO: pip install "wren-asr[openvino]"' in done.stderr


def test_a_variant_whose_executor_was_lost_is_loaded_anew_once() -> None:
    registry = Registry(STORE)
    loaded = loaded_of(registry)
    lost = loaded.get(registry.get("whisper-tiny.en", "int8"))
    fresh = loaded.renew(lost)
    assert fresh is not lost
    assert loaded.renew(lost) is fresh
    assert loaded.find(lost.manifest) is fresh
