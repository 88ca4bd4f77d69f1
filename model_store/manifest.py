"""The manifest of a variant: what its files are, where it came from, what it needs, what was measured of it."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Family = Literal["whisper", "moonshine", "silero-vad"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "int4", "mixed"]
Runtime = Literal["onnxruntime", "torch", "openvino"]

FILE_NAME = "manifest.json"
SCHEMA = 1

PLAIN_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
"""A name that is safe as one part of a path: no separator, no leading dot."""

HEX_SHA256 = r"^[0-9a-f]{64}$"


class File(BaseModel):
    """One file of a variant; `name` is a plain file name inside the variant's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=PLAIN_NAME)
    sha256: str = Field(pattern=HEX_SHA256)
    bytes: int = Field(ge=0)

    @classmethod
    def of(cls, path: Path) -> Self:
        """Describes a file of the disk."""
        return cls(name=path.name, sha256=digest(path), bytes=path.stat().st_size)


class SourceFile(File):
    """A file as it was fetched, and what its checksum was compared with.

    Attributes:
        checked: "catalogue" for a pinned SHA-256; "hub" for the hub's own, which is trusted on first use; "nothing" for
            a file that the user handed over.
    """

    checked: Literal["catalogue", "hub", "nothing"]


class Manifest(BaseModel):
    """What is known of a variant. `parent` is the variant it was made from, None for a base variant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    model: str = Field(pattern=PLAIN_NAME)
    variant: str = Field(pattern=PLAIN_NAME)
    family: Family
    precision: Precision
    runtime: Runtime
    languages: tuple[str, ...]
    license: str
    source: str
    source_files: tuple[SourceFile, ...] = ()
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


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
