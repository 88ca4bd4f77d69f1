"""The manifest of a variant: what its files are, where it came from, what it needs, what was measured of it."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Family = Literal["whisper", "moonshine", "silero-vad"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "int4", "mixed"]
Runtime = Literal["onnxruntime", "torch", "openvino"]

FILE_NAME = "manifest.json"
SCHEMA = 1


class File(BaseModel):
    """One file of a variant; `name` is a plain file name inside the variant's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(BaseModel):
    """What is known of a variant. `parent` is the variant it was made from, None for a base variant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    model: str
    variant: str
    family: Family
    precision: Precision
    runtime: Runtime
    languages: tuple[str, ...]
    license: str
    source: str
    parent: str | None = None
    recipe: str
    files: tuple[File, ...]
    created: datetime
    metrics: dict[str, float] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """`model:variant`, as users write it."""
        return f"{self.model}:{self.variant}"

    @property
    def total_bytes(self) -> int:
        return sum(file.bytes for file in self.files)
