"""The registry: the store's variants, read and changed. STORE/MODEL/VARIANT/ holds manifest.json and what it lists.

Reading takes no lock and writes nothing, so a store may be mounted read-only. What is damaged is told of, not raised:
one bad manifest must not hide the good ones.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from model_store.errors import BrokenVariant, NotInStore, writing
from model_store.manifest import FILE_NAME, PLAIN_NAME, File, Manifest, digest
from model_store.staging import Staging, staging


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the store, with the file it is wrong with."""

    model: str
    variant: str
    file: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.model}:{self.variant}: {self.file}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What the store holds: variants that can be used, and what is wrong with the others."""

    manifests: tuple[Manifest, ...]
    problems: tuple[Problem, ...]


class Registry:
    """The store at `root`, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    def list(self) -> tuple[Manifest, ...]:
        """The variants that can be used, sorted by name."""
        return self.scan().manifests

    def scan(self) -> Listing:
        """All that is in the store, damaged or not."""
        manifests: list[Manifest] = []
        problems: list[Problem] = []
        for folder in self._folders():
            read = _read(folder)
            if isinstance(read, Manifest):
                manifests.append(read)
            elif read is not None:
                problems.append(read)
        return Listing(tuple(manifests), tuple(problems))

    def get(self, model: str, variant: str) -> Manifest:
        """The manifest of one variant.

        Raises:
            NotInStore: it is not there.
            BrokenVariant: its manifest cannot be used.
        """
        folder = self.root / model / variant
        safe = re.match(PLAIN_NAME, model) and re.match(PLAIN_NAME, variant)
        read = _read(folder) if safe and folder.is_dir() else None
        if isinstance(read, Problem):
            raise BrokenVariant(f"{model}:{variant}", file=read.file, reason=read.reason)
        if read is None:
            raise NotInStore(f"{model}:{variant}", self._names())
        return read

    def variants(self, model: str) -> tuple[Manifest, ...]:
        """The variants of a model that can be used; none if the store has no such model."""
        return tuple(manifest for manifest in self.list() if manifest.model == model)

    def path(self, manifest: Manifest) -> Path:
        """The folder that holds the variant's files."""
        return self.root / manifest.model / manifest.variant

    def complete(self, model: str) -> tuple[Manifest, ...]:
        """The model's variants, or none where a base variant or a file is missing, or has another length.

        Checksums are not computed: this is asked at every start.
        """
        listing = self.scan()
        manifests = tuple(manifest for manifest in listing.manifests if manifest.model == model)
        based = any(manifest.parent is None for manifest in manifests)
        broken = any(problem.model == model for problem in listing.problems)
        if not based or broken or any(self._differences(manifest, hashed=False) for manifest in manifests):
            return ()
        return manifests

    def verify(self, model: str | None = None, variant: str | None = None) -> tuple[Problem, ...]:
        """Compares every file with its manifest: there, length, SHA-256. Of all models unless one is named.

        Raises:
            NotInStore: nothing of that name is in the store.
        """
        listing = self.scan()
        manifests = [m for m in listing.manifests if model in (None, m.model) and variant in (None, m.variant)]
        broken = [p for p in listing.problems if model in (None, p.model) and variant in (None, p.variant)]
        if model is not None and not manifests and not broken:
            raise NotInStore(f"{model}:{variant}" if variant else model, self._names())
        for manifest in manifests:
            broken += self._differences(manifest, hashed=True)
        return tuple(broken)

    def add(self, manifest: Manifest, folder: Path) -> Manifest:
        """Moves `folder` into the store as the variant that `manifest` describes, in place of one of that name.

        The files are listed and hashed here; those of `manifest` are not looked at. `folder` should lie on the store's
        file system, or it is copied.

        Raises:
            StoreUnwritable: the store is as it was.
        """
        with self.stage(manifest.model) as stage:
            built = stage.make("built")
            with writing(folder):
                shutil.move(folder, built / manifest.variant)
            written = describe(manifest, built / manifest.variant)
            stage.publish(built)
        return written

    def remove(self, model: str, variant: str | None = None) -> tuple[str, ...]:
        """Takes a variant, or all variants of a model, out of the store; returns their names. Damaged ones go as well.

        Raises:
            NotInStore: nothing of that name is in the store.
            StoreUnwritable: it cannot be removed.
        """
        doomed = self._present(model, variant)
        with self.stage(model) as stage:
            doomed = self._present(model, variant)
            stage.withdraw(doomed)
        return tuple(f"{model}:{name}" for name in doomed)

    def stage(self, model: str, *, waiting: Callable[[], None] = lambda: None) -> AbstractContextManager[Staging]:
        """The right to change `model`: waits until no other process does (`waiting` is called once before)."""
        return staging(self.root, model, waiting=waiting)

    def _folders(self) -> Iterator[Path]:
        """The folders of variants, hidden ones (staging, locks) left out."""
        for model in _subfolders(self.root):
            yield from _subfolders(model)

    def _names(self) -> tuple[str, ...]:
        return tuple(f"{folder.parent.name}:{folder.name}" for folder in self._folders())

    def _present(self, model: str, variant: str | None) -> tuple[str, ...]:
        present = tuple(
            folder.name for folder in self._folders() if folder.parent.name == model and variant in (None, folder.name)
        )
        if not present:
            raise NotInStore(f"{model}:{variant}" if variant else model, self._names())
        return present

    def _differences(self, manifest: Manifest, *, hashed: bool) -> tuple[Problem, ...]:
        folder = self.path(manifest)
        return tuple(
            Problem(manifest.model, manifest.variant, folder / file.name, reason)
            for file in manifest.files
            if (reason := _difference(folder / file.name, file, hashed=hashed))
        )


def describe(manifest: Manifest, folder: Path) -> Manifest:
    """Writes the manifest of the files that lie in `folder` into it; returns it."""
    files = tuple(File.of(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != FILE_NAME)
    draft = manifest.model_copy(update={"files": files, "created": datetime.now(UTC)})
    # Through validation once more: model_copy does none, and a file's name comes from the disk.
    written = Manifest.model_validate(draft.model_dump())
    with writing(folder / FILE_NAME):
        (folder / FILE_NAME).write_text(written.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return written


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []  # no store yet, or another process removed the model just now
    return [entry for entry in entries if re.match(PLAIN_NAME, entry.name) and entry.is_dir()]


def _read(folder: Path) -> Manifest | Problem | None:
    """The manifest of a folder, what is wrong with it, or None where the folder went away meanwhile."""
    file, model, variant = folder / FILE_NAME, folder.parent.name, folder.name
    try:
        manifest = Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Problem(model, variant, file, "the manifest is missing") if folder.is_dir() else None
    except OSError as error:
        return Problem(model, variant, file, f"it cannot be read ({error.strerror})")
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        return Problem(model, variant, file, f"it is not a manifest ({where + ': ' if where else ''}{fault['msg']})")
    if (manifest.model, manifest.variant) != (model, variant):
        return Problem(model, variant, file, f"it describes another variant ({manifest.name})")
    return manifest


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
