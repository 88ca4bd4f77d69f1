"""From a source folder to variants for a runtime. `convert` is the one door; each format has a module behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

from model_store.manifest import Precision, Runtime

SourceFormat = Literal[
    "whisper-ctranslate2", "whisper-huggingface", "moonshine-huggingface", "moonshine-ort", "silero-onnx"
]


@dataclass(frozen=True, slots=True)
class Built:
    """A variant that `convert` wrote into `target/variant/` (its files, without a manifest)."""

    variant: str
    precision: Precision
    runtime: Runtime
    parent: str | None
    recipe: str
    recipe_sha256: str | None = None


Report = Callable[[str], None]
"""Told, in a few words, what is being done."""


class Converter(Protocol):
    """What each format's module offers under the name `build`."""

    def __call__(
        self, source_format: SourceFormat, source: Path, target: Path, *, report: Report
    ) -> tuple[Built, ...]: ...


_MODULES: dict[SourceFormat, str] = {
    "whisper-ctranslate2": "whisper_variants",
    "whisper-huggingface": "whisper_variants",
    "moonshine-huggingface": "moonshine_variants",
    "moonshine-ort": "moonshine_variants",
    "silero-onnx": "silero",
}


def convert(
    source_format: SourceFormat, source: Path, target: Path, *, report: Report = lambda _: None
) -> tuple[Built, ...]:
    """Build every standard variant of the model in `source` below `target`.

    The modules are imported here: they need onnx, which takes half a second that listing models need not pay.

    Raises:
        ConversionError: a file is missing, cut or not of the format.
    """
    build = cast(Converter, import_module(f"{__name__}.{_MODULES[source_format]}").build)
    return build(source_format, source, target, report=report)
