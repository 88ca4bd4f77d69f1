import sys
from pathlib import Path

import pytest

from model_store.evaluate.errors import VariantFailed
from model_store.evaluate.messages import Done, Heard, Order, Ready, Recording
from model_store.evaluate.process import compute
from model_store.registry import Registry
from tests.engine.stores import cut, linked_store
from tests.live import recording

HELLO = Recording(path=recording("en/hello_world"), lang="en")


def order(store: Path, *recordings: Recording, variant: str = "whisper-tiny.en:int8") -> Order:
    return Order(store=store, variant=variant, threads=1, recordings=recordings)


def test_process_is_ready_hears_and_is_done(registry: Registry) -> None:
    ready, first, second, done = compute(order(registry.root, HELLO, HELLO))
    assert isinstance(ready, Ready)
    assert isinstance(first, Heard)
    assert isinstance(second, Heard)
    assert isinstance(done, Done)
    assert "hello" in first.text.lower()
    assert (first.text, first.tokens, first.audio_s) == (second.text, second.tokens, second.audio_s)
    assert 0 < second.seconds < 60
    assert done.peak_bytes > 50e6


def test_variant_that_cannot_be_loaded_is_an_error_with_the_reason(tmp_path: Path) -> None:
    store = linked_store(tmp_path, "whisper-tiny.en/int8", "silero-vad/fp32")
    cut(store / "whisper-tiny.en/int8/decoder.onnx")
    with pytest.raises(VariantFailed, match=r"whisper-tiny\.en:int8 cannot be evaluated: .*decoder\.onnx"):
        list(compute(order(store)))


def test_store_without_the_speech_detector_is_told_what_to_do(tmp_path: Path) -> None:
    store = linked_store(tmp_path, "whisper-tiny.en/int8")
    with pytest.raises(VariantFailed, match="wren models pull silero-vad"):
        list(compute(order(store)))


def test_recording_that_cannot_be_decoded_is_named(registry: Registry, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"this is no recording")
    with pytest.raises(VariantFailed, match=r"broken\.wav: Cannot decode this audio"):
        list(compute(order(registry.root, Recording(path=broken, lang="en"))))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", "killed, most likely for memory"),
        ("import os; os.kill(os.getpid(), 15)", "ended by SIGTERM"),
        ("raise MemoryError('no room')", "status 1: MemoryError: no room"),
        ("import os; os._exit(3)", "status 3: it said nothing"),
        ("print('hello')", r"said b'hello\\n'"),
    ],
)
def test_process_that_ends_before_its_time_is_an_error(tmp_path: Path, code: str, reason: str) -> None:
    with pytest.raises(VariantFailed, match=reason):
        list(compute(order(tmp_path), command=(sys.executable, "-c", code)))


def test_process_ends_with_the_one_who_listens(tmp_path: Path) -> None:
    code = 'print(\'{"kind": "ready", "load_ms": 1}\', flush=True); import time; time.sleep(600)'
    messages = compute(order(tmp_path), command=(sys.executable, "-c", code))
    assert isinstance(next(messages), Ready)
    messages.close()  # waits for the process
