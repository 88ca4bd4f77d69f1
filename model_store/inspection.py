"""A variant's folder to its manifest, or to what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from model_store.manifest import FILE_NAME, File, Manifest, digest


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the store, with the file it is wrong with."""

    model: str
    variant: str
    file: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.model}:{self.variant}: {self.file}: {self.reason}"


def read(folder: Path, model: str, variant: str) -> Manifest | Problem | None:
    """The manifest of a folder, what is wrong with it, or None where the folder went away meanwhile."""
    file = folder / FILE_NAME
    try:
        manifest = Manifest.model_validate_json(_again(file, folder))
    except FileNotFoundError:
        return Problem(model, variant, file, "the manifest is missing") if folder.is_dir() else None
    except OSError as error:
        return Problem(model, variant, file, f"it cannot be read ({error.strerror})")
    except ValidationError as error:
        return Problem(model, variant, file, f"it is not a manifest ({fault(error)})")
    if (manifest.model, manifest.variant) != (model, variant):
        return Problem(model, variant, file, f"it describes another variant ({manifest.name})")
    return manifest


def _again(file: Path, folder: Path) -> bytes:
    """The content of a file; where the folder was being replaced just then, that of the one that is there now."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        if not folder.is_dir():
            raise
        return file.read_bytes()


def fault(error: ValidationError) -> str:
    """The first thing that is wrong with a manifest."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where + ': ' if where else ''}{first['msg']}"


def differences(manifest: Manifest, folder: Path, *, hashed: bool) -> tuple[Problem, ...]:
    """The files of `folder` that are missing or not as the manifest has them; checksums only if `hashed`."""
    return tuple(
        Problem(manifest.model, manifest.variant, folder / file.name, reason)
        for file in manifest.files
        if (reason := _difference(folder / file.name, file, hashed=hashed))
    )


def _difference(path: Path, file: File, *, hashed: bool) -> str | None:
    """What is wrong with a file on disk, None if nothing."""
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"it has {size} bytes instead of {file.bytes}"
        if hashed and (actual := digest(path)) != file.sha256:
            return f"wrong checksum: expected {file.sha256}, got {actual}"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None
