"""From a source folder to variants for a runtime. `convert` is the one door; each format has a module behind it."""

from dataclasses import dataclass
from typing import Literal

from model_store.manifest import Precision, Runtime

SourceFormat = Literal["whisper-ctranslate2", "whisper-huggingface", "moonshine-huggingface", "moonshine-ort", "silero-onnx"]


@dataclass(frozen=True, slots=True)
class Built:
    """A variant that `convert` wrote into `target/variant/` (its files, without a manifest)."""

    variant: str
    precision: Precision
    runtime: Runtime
    parent: str | None
    recipe: str
