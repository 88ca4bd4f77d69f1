from pathlib import Path

import pytest

from model_store.evaluate import hypotheses
from model_store.evaluate.bootstrap import growth
from model_store.evaluate.datasets import digest, read
from model_store.evaluate.errors import DataError, VariantFailed
from model_store.evaluate.run import evaluate, rescore, understood
from model_store.registry import Registry
from tests.evaluate.recordings import manifest_folder


def test_variants_are_measured_and_compared(registry: Registry, tmp_path: Path) -> None:
    utterances = read(manifest_folder(tmp_path / "set", "en/quick_brown_fox", "en/hello_world"))
    told: list[tuple[int, int]] = []
    int8, fp32 = (registry.get("whisper-tiny.en", name) for name in ("int8", "fp32"))
    found, scored = evaluate(registry, int8, utterances, threads=1, report=lambda *progress: told.append(progress))
    base, base_scored = evaluate(registry, fp32, utterances, threads=1)
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert (found.recordings, found.data, found.data_sha256) == (2, "set", digest(utterances))
    assert found.wer < 30
    assert found.audio_s == pytest.approx(sum(u.duration_s or 0 for u in utterances), abs=0.1)
    assert found.device.endswith(", 1 thread")
    assert set(found.versions) == {"wren", "onnxruntime", "numpy"}
    assert 0 < found.latency_p50_ms <= found.latency_p95_ms
    # The weights of the one are 100 MB larger, and each has a process of its own.
    assert found.peak_bytes + 20e6 < base.peak_bytes
    assert growth(scored, base_scored).points == found.wer - base.wer


def test_hypotheses_are_kept_in_the_store_and_scored_from_there(registry: Registry, tmp_path: Path) -> None:
    utterances = read(manifest_folder(tmp_path / "set", "en/counting"))
    manifest = registry.get("whisper-tiny.en", "int8")
    found, scored = evaluate(registry, manifest, utterances, threads=1)
    file = hypotheses.place(registry.root, manifest, utterances)
    run, again, rescored = rescore(file)
    assert again == found
    assert [one.hypothesis for one in rescored] == [one.hypothesis for one in scored]
    assert run.files == manifest.files
    assert registry.scan().problems == ()


def test_failure_keeps_nothing(registry: Registry, tmp_path: Path) -> None:
    utterances = read(manifest_folder(tmp_path / "set", "en/counting"))
    utterances[0].path.write_bytes(b"no more a recording")
    with pytest.raises(VariantFailed, match=r"counting\.wav"):
        evaluate(registry, registry.get("whisper-tiny.en", "int8"), utterances, threads=1, out=tmp_path / "a.jsonl")
    assert not list(tmp_path.glob("a.jsonl*"))


def test_only_what_a_variant_understands_is_asked_of_it(registry: Registry, tmp_path: Path) -> None:
    data = manifest_folder(tmp_path / "set", "en/counting", "es/hola_mundo")
    english = registry.get("whisper-tiny.en", "int8")
    assert [u.lang for u in understood(english, read(data), data)] == ["en"]
    with pytest.raises(DataError, match=r"in a language that whisper-tiny\.en:int8 knows \(en\)"):
        understood(english, read(data, languages=["es"]), data)
    with pytest.raises(VariantFailed, match="it writes no text"):
        understood(registry.get("silero-vad", "fp32"), read(data), data)
