"""Evaluations that come with Wren: a TOML file in, what is known of the very same files out; and that file written.

A figure is told of a variant only where every file has the digest that it was measured with.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store import toml_text
from model_store.errors import CatalogError
from model_store.manifest import HEX_SHA256, Evaluation, Manifest

SHIPPED = Path(__file__).parent / "evaluated.toml"

HEADER = (
    "# Evaluations of well-known variants, told of the very same files only; `write` of evaluated.py makes this file.\n"
)


class Entry(Evaluation):
    """An evaluation with what it is of; `digest` is that of the manifest (`Manifest.digest`)."""

    variant: str
    digest: str = Field(pattern=HEX_SHA256)

    def evaluation(self) -> Evaluation:
        return Evaluation.model_validate(self.model_dump(exclude={"variant", "digest"}))


class Evaluated(BaseModel):
    """All that the file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    evaluations: tuple[Entry, ...] = ()

    def of(self, manifest: Manifest) -> tuple[Evaluation, ...]:
        """What is known of this variant, if its files are the ones that were measured."""
        key = (manifest.name, manifest.digest)
        return tuple(entry.evaluation() for entry in self.evaluations if (entry.variant, entry.digest) == key)

    @classmethod
    def in_manifests(cls, manifests: Iterable[Manifest]) -> Self:
        """All that was measured of variants."""
        return cls(
            evaluations=tuple(
                Entry(variant=manifest.name, digest=manifest.digest, **evaluation.model_dump())
                for manifest in sorted(manifests, key=lambda manifest: manifest.name)
                for evaluation in manifest.evaluations
            )
        )


def load(path: Path = SHIPPED) -> Evaluated:
    """Reads the file.

    Raises:
        CatalogError: it is not as it should be.
    """
    try:
        return Evaluated.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise CatalogError(path, str(error)) from error


def write(manifests: Iterable[Manifest], path: Path = SHIPPED) -> None:
    """Writes the evaluations in manifests, so that they come with Wren."""
    entries = (
        entry.model_dump(mode="json", exclude_none=True) for entry in Evaluated.in_manifests(manifests).evaluations
    )
    tables = (
        "\n[[evaluations]]\n" + "".join(f"{name} = {toml_text.value(value)}\n" for name, value in entry.items())
        for entry in entries
    )
    path.write_text(HEADER + "".join(tables), encoding="utf-8")
