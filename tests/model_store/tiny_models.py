"""Catalogue entries, manifests and a converter for models of a few bytes, so that tests are about the store."""

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

from model_store.catalog import Catalog, FileSource, HttpsSource, Model, Source, WebFile
from model_store.convert import Built, SourceFormat
from model_store.errors import ConversionError
from model_store.manifest import Evaluation, Manifest
from model_store.pull import Say
from model_store.registry import Registry

WEIGHTS = bytes(range(256)) * 4000
"""About a megabyte: several chunks of a download."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def copied(_: SourceFormat, source: Path, target: Path, say: Say) -> tuple[Built, ...]:
    """A converter whose two variants are the source's files as they are."""
    for variant in ("fp32", "int8"):
        say(f"{variant} variant")
        shutil.copytree(source, target / variant)
    return (
        Built("fp32", "fp32", "onnxruntime", None, "copied"),
        Built("int8", "int8", "onnxruntime", "fp32", "copied again"),
    )


def refused(_: SourceFormat, source: Path, target: Path, say: Say) -> tuple[Built, ...]:
    """A converter that gives up half-way."""
    (target / "fp32").mkdir()
    raise ConversionError(source / "model.bin", "it holds no encoder")


def catalog_of(*sources: Source, name: str = "tiny") -> Catalog:
    model = Model(family="whisper", languages=("en",), license="MIT", sources=sources)
    return Catalog(models={name: model})


def web(url: str, data: bytes = WEIGHTS, *, name: str = "model.bin", pin: str | None = None) -> HttpsSource:
    file = WebFile(name=name, url=url, sha256=pin or sha256(data), bytes=len(data))
    return HttpsSource(kind="https", format="whisper-ctranslate2", files=(file,))


def folder(path: Path) -> FileSource:
    return FileSource(kind="file", format="whisper-ctranslate2", path=path)


def draft(model: str = "tiny", variant: str = "fp32", **changed: object) -> Manifest:
    told = {
        "model": model,
        "variant": variant,
        "family": "whisper",
        "precision": "fp32",
        "runtime": "onnxruntime",
        "languages": ("en",),
        "license": "MIT",
        "source": "file:/somewhere",
        "recipe": "by hand",
        "files": (),
        "created": datetime.now(UTC),
    }
    return Manifest.model_validate(told | changed)


def add(
    registry: Registry,
    work: Path,
    model: str = "tiny",
    variant: str = "fp32",
    data: bytes = b"weights",
    **changed: object,
) -> Manifest:
    """Puts a variant with one file, model.onnx, into the store."""
    made = work / "made"
    made.mkdir(parents=True)
    (made / "model.onnx").write_bytes(data)
    return registry.add(draft(model, variant, **changed), made)


def evaluation(**changed: object) -> Evaluation:
    told = {
        "data": "libri+misc",
        "data_sha256": sha256(b"libri+misc"),
        "recordings": 100,
        "audio_s": 640.5,
        "words": 1_000,
        "substitutions": 40,
        "deletions": 10,
        "insertions": 6,
        "wer": 5.6,
        "wer_low": 4.9,
        "wer_high": 6.4,
        "cer": 2.25,
        "speed": 21.5,
        "tokens_per_s": 110.0,
        "latency_p50_ms": 85.0,
        "latency_p95_ms": 190.0,
        "load_ms": 300.0,
        "peak_bytes": 250_000_000,
        "device": "A processor",
        "threads": 2,
        "versions": {"wren": "0.1.0", "onnxruntime": "1.22.0"},
        "date": datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
    }
    return Evaluation.model_validate(told | changed)


def contents(store: Path) -> dict[str, bytes]:
    """Every file in the store but the lock files, by path."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and ".locks" not in path.parts
    }
