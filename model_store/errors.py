"""Everything that can go wrong with the store and what fills it, as one tree. Messages are fit for a terminal.

StoreError
├── CatalogError (ValueError)           a catalogue file is not as it should be
├── UnknownModel (LookupError)          no catalogue names the model
├── NotInStore (LookupError)            the store has no such model or variant
├── NoSuchVersion (LookupError)         the store keeps no such build of the variant
├── BrokenVariant (RuntimeError)        it is in the store; its manifest cannot be used, or a file is changed or missing
├── Outdated (RuntimeError)             what was evaluated is not what is in the store
├── ImportRefused (ValueError)          a file to import is not a sound export
├── StoreUnwritable (OSError)           a file of the store cannot be written: disk full, no permission
├── PullFailed (RuntimeError)           no source of a model worked
├── ConversionError (ValueError)        the files arrived and cannot become a variant
├── RecipeError (ValueError)            a recipe is not there, or not as it should be
├── CompressionError (ValueError)       a recipe cannot be carried out on this model
├── GateClosed (RuntimeError)           a variant lost more than its recipe allows
└── SourceError (RuntimeError)          one source could not deliver
    ├── SourceMissing (LookupError)     the file, page, package or repository is not there
    ├── DownloadFailed                  the network, the server or the package installer failed
    ├── WrongChecksum                   a file arrived and is not the one the catalogue or the hub names
    ├── WrongSize                       a file is shorter or longer than it should be
    └── UnsafeArchive                   an archive is damaged, or a member of it missing
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StoreError(Exception):
    """The root."""


class CatalogError(StoreError, ValueError):
    """A catalogue file is not as it should be."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"The catalogue {path} cannot be used: {reason}.")


class UnknownModel(StoreError, LookupError):
    """No catalogue names the model."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name, self.known = name, known
        super().__init__(f"No catalogue names a model {name!r}. Known: {', '.join(known) or 'none'}.")


class NotInStore(StoreError, LookupError):
    """The store has no such model or variant."""

    def __init__(self, name: str, present: tuple[str, ...]) -> None:
        self.name, self.present = name, present
        super().__init__(f"The store has no {name!r}. In it: {', '.join(present) or 'nothing'}.")


class NoSuchVersion(StoreError, LookupError):
    """The store keeps no such build of the variant. `version` is None where any earlier one would have done."""

    def __init__(self, name: str, version: int | None, kept: tuple[int, ...]) -> None:
        self.name, self.version, self.kept = name, version, kept
        wanted = "no build before the present one" if version is None else f"no other build with version {version}"
        super().__init__(f"The store keeps {wanted} of {name}. Kept: {', '.join(map(str, kept)) or 'none'}.")


class BrokenVariant(StoreError, RuntimeError):
    """The variant is in the store; its manifest cannot be used, or a file is changed or missing.

    `version` is that of an earlier build, if it is one that is damaged.
    """

    def __init__(self, name: str, *, file: Path, reason: str, version: int | None = None) -> None:
        self.name, self.file, self.reason, self.version = name, file, reason, version
        which = name if version is None else f"Version {version} of {name}"
        mended = f"Remove it (wren models rm {name}), and pull, compress or import it again"
        advice = mended if version is None else "The present one stays"
        super().__init__(f"{which} is damaged: {file}: {reason}. {advice}.")


class Outdated(StoreError, RuntimeError):
    """What was evaluated is not what is in the store."""

    def __init__(self, name: str, files: tuple[str, ...]) -> None:
        self.name, self.files = name, files
        super().__init__(f"{name} changed while it was evaluated ({', '.join(files)}). Evaluate it again.")


class ImportRefused(StoreError, ValueError):
    """A file to import is not a sound export."""

    def __init__(self, archive: Path, reason: str) -> None:
        self.archive, self.reason = archive, reason
        super().__init__(f"Cannot import {archive}, the store is as it was: {reason}")


class StoreUnwritable(StoreError, OSError):
    """A file of the store cannot be written: disk full, no permission."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"Cannot write {path}: {reason}. The store is as it was.")


class ConversionError(StoreError, ValueError):
    """The files arrived and cannot become a variant."""

    def __init__(self, file: Path, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"cannot convert {file.name}: {reason}")


class RecipeError(StoreError, ValueError):
    """A recipe is not there, or not as it should be."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"The recipe {name} cannot be used: {reason}.")


class CompressionError(StoreError, ValueError):
    """A recipe cannot be carried out on this model."""

    def __init__(self, step: str, reason: str) -> None:
        self.step, self.reason = step, reason
        super().__init__(f"The step {step} cannot be carried out: {reason}.")


class GateClosed(StoreError, RuntimeError):
    """A variant lost more than its recipe allows. Nothing was registered."""

    def __init__(
        self,
        name: str,
        *,
        growth: float,
        between: tuple[float, float],
        allowed: float,
        wer: float,
        parent: str,
        parent_wer: float,
    ) -> None:
        self.name, self.growth, self.allowed, self.missed_by = name, growth, allowed, growth - allowed
        low, high = between
        super().__init__(
            f"{name} is not registered: its WER is {wer:.2f} %, {growth:.2f} points over that of {parent}, "
            f"{parent_wer:.2f} % (95 %: {low:+.2f} to {high:+.2f}); its recipe allows {allowed:.2f}, "
            f"which it misses by {self.missed_by:.2f}."
        )


class SourceError(StoreError, RuntimeError):
    """One source could not deliver."""


class SourceMissing(SourceError, LookupError):
    """The file, page, package or repository is not there."""

    def __init__(self, what: str, reason: str = "it is not there") -> None:
        self.what, self.reason = what, reason
        super().__init__(f"{what}: {reason}")


class DownloadFailed(SourceError):
    """The network, the server or the package installer failed."""

    def __init__(self, what: str, reason: str) -> None:
        self.what, self.reason = what, reason
        super().__init__(f"{what}: {reason}")


class WrongChecksum(SourceError):
    """A file arrived and is not the one that the catalogue or the hub names."""

    def __init__(self, file: str, *, expected: str, actual: str) -> None:
        self.file, self.expected, self.actual = file, expected, actual
        super().__init__(f"{file}: wrong checksum, expected {expected}, got {actual}")


class WrongSize(SourceError):
    """A file is shorter or longer than it should be."""

    def __init__(self, file: str, *, expected: int, actual: int) -> None:
        self.file, self.expected, self.actual = file, expected, actual
        more = "at least " if actual > expected else ""
        super().__init__(f"{file}: wrong size, expected {expected} bytes, got {more}{actual}")


class UnsafeArchive(SourceError):
    """An archive is damaged, or a member of it missing."""

    def __init__(self, archive: str, reason: str) -> None:
        self.archive, self.reason = archive, reason
        super().__init__(f"{archive}: {reason}")


class PullFailed(StoreError, RuntimeError):
    """No source of a model worked. `failures` holds each source with its error, in the order tried."""

    def __init__(self, name: str, failures: tuple[tuple[str, StoreError], ...]) -> None:
        self.name, self.failures = name, failures
        reasons = [f"{source}: {error}" for source, error in failures]
        told = reasons[0] if len(reasons) == 1 else "".join(f"\n  {reason}" for reason in reasons)
        super().__init__(f"Cannot pull {name}, the store is as it was: {told or 'it has no such source'}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the file in errors of the file system: a failed write does not carry one.

    Raises:
        StoreUnwritable: whatever OSError the block raised.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreUnwritable(Path(error.filename or path), error.strerror or str(error)) from error
