"""The manifest of a variant: what its files are, where it came from, what it needs, what was measured of it."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Family = Literal["whisper", "moonshine", "silero-vad"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "int4", "mixed"]
Runtime = Literal["onnxruntime", "torch", "openvino"]

FILE_NAME = "manifest.json"
SCHEMA = 2

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


class Evaluation(BaseModel):
    """What a variant was seen to do with a set of recordings, on one machine, through the recogniser that serves.

    Attributes:
        data: names of the sets, joined by "+".
        data_sha256: of the names and references, so that evaluations can be compared: the same digest, the same test.
        wer: errors in a hundred words, those of all recordings together, between `wer_low` and `wer_high` with 95 %.
        cer: errors in a hundred characters.
        speed: seconds of audio a second, one recording after another.
        latency_p50_ms: of a whole recording, from its bytes to its text.
        load_ms: to load and warm the variant up.
        peak_bytes: the most memory that the process had resident.
        energy_j: of the processor's packages while it recognised; None where the machine does not report it.
        device: the processor, with the threads that were used.
        versions: of Wren and of what computes.
    """

    # JSON has no NaN: a manifest that held one could be written and not read.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: str
    data_sha256: str = Field(pattern=HEX_SHA256)
    recordings: int
    audio_s: float
    words: int
    substitutions: int
    deletions: int
    insertions: int
    wer: float
    wer_low: float
    wer_high: float
    cer: float
    speed: float
    tokens_per_s: float
    latency_p50_ms: float
    latency_p95_ms: float
    load_ms: float
    peak_bytes: int
    energy_j: float | None = None
    device: str
    threads: int
    versions: dict[str, str]
    date: AwareDatetime


class Manifest(BaseModel):
    """What is known of a variant.

    Attributes:
        parent: the variant it was made from, None for a base variant.
        recipe: the name of what made it; `recipe_sha256` is the digest of the recipe's text, None for a conversion.
        calibrated_on: the recordings of which steps of the recipe looked at some; None if none did.
        version: counts the builds of this name in this store, from 1.
        evaluations: the latest of each set of recordings, device and number of threads.
    """

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
    calibrated_on: str | None = None
    recipe_sha256: str | None = Field(default=None, pattern=HEX_SHA256)
    version: int = Field(default=1, ge=1)
    files: tuple[File, ...]
    created: datetime
    evaluations: tuple[Evaluation, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _upgraded(cls, value: object) -> object:
        """Manifests of schema 1 had metrics, which nothing ever wrote to."""
        if isinstance(value, dict) and value.get("schema_version") == 1:
            kept = {name: one for name, one in value.items() if name != "metrics"}
            return kept | {"schema_version": SCHEMA}
        return value

    @model_validator(mode="after")
    def _each_file_once(self) -> Self:
        names = {file.name for file in self.files}
        if len(names) < len(self.files) or FILE_NAME in names:
            raise ValueError("a file is listed twice, or is the manifest")
        return self

    @property
    def name(self) -> str:
        """`model:variant`, as users write it."""
        return f"{self.model}:{self.variant}"

    @property
    def total_bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each file, by its name."""
        return {file.name: file.sha256 for file in sorted(self.files, key=lambda file: file.name)}

    @property
    def digest(self) -> str:
        """The SHA-256 of all names and digests: the same for the very same files, and only for them."""
        lines = "".join(f"{sha256}  {name}\n" for name, sha256 in self.digests.items())
        return hashlib.sha256(lines.encode()).hexdigest()

    def evaluated(self, evaluations: Iterable[Evaluation]) -> Self:
        """With these besides; each takes the place of the one of the same recordings, device and number of threads."""
        latest = {(one.data_sha256, one.device, one.threads): one for one in (*self.evaluations, *evaluations)}
        return self.model_copy(update={"evaluations": tuple(latest.values())})


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
