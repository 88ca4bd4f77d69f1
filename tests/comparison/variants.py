"""Manifests with evaluations, as `wren compress` and `wren evaluate` would leave them."""

from datetime import UTC, datetime
from hashlib import sha256

from model_store.manifest import Evaluation, File, Manifest

DAY = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def variant(name: str, megabytes: float = 100, *evaluations: Evaluation, **changed: object) -> Manifest:
    """A base variant if it is called fp32, else one that was made from that."""
    model, _, form = name.partition(":")
    told = {
        "model": model,
        "variant": form,
        "family": "whisper",
        "precision": "fp32",
        "runtime": "onnxruntime",
        "languages": ("en",),
        "license": "MIT",
        "source": "file:/somewhere",
        "recipe": form,
        "parent": None if form == "fp32" else "fp32",
        "files": (File(name="model.onnx", sha256=digest(name), bytes=round(megabytes * 1e6)),),
        "created": DAY,
        "evaluations": evaluations,
    }
    return Manifest.model_validate(told | changed)


def evaluation(wer: float = 5.0, speed: float = 20.0, *, data: str = "libri", **changed: object) -> Evaluation:
    told = {
        "data": data,
        "data_sha256": digest(data),
        "recordings": 100,
        "audio_s": 600.0,
        "words": 1000,
        "substitutions": 30,
        "deletions": 10,
        "insertions": 10,
        "wer": wer,
        "wer_low": wer * 0.8,
        "wer_high": wer * 1.3,
        "cer": 2.25,
        "speed": speed,
        "tokens_per_s": 110.0,
        "latency_p50_ms": 85.0,
        "latency_p95_ms": 190.0,
        "load_ms": 300.0,
        "peak_bytes": 250_000_000,
        "device": "A processor, 2 threads",
        "threads": 2,
        "versions": {"wren": "0.1.0", "onnxruntime": "1.22.0"},
        "date": DAY,
    }
    return Evaluation.model_validate(told | changed)


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
