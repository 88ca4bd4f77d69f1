"""Files that are checked while they are written: chunks in, a file with a known SHA-256 and length out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from model_store.errors import WrongChecksum, WrongSize, writing
from model_store.manifest import SourceFile

Checked = Literal["catalogue", "hub", "nothing"]

CHUNK_BYTES = 1 << 18

LIMIT_BYTES = 16 << 30
"""The most that a file of unknown length may grow to: above every speech model, below most disks."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a source delivered. `origin` says which source and revision won, as the manifest keeps it."""

    origin: str
    files: tuple[SourceFile, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of a file before it arrives; None: not known."""

    sha256: str | None = None
    bytes: int | None = None
    git_sha1: str | None = None
    """Git's name for a blob, which the hub gives for files outside LFS."""


class CheckedFile:
    """Writes a file and hashes what it writes. Its name in errors is `label` (the file's name unless given).

    The file is removed when the block ends with an error, so what is there has been checked.
    """

    def __init__(self, path: Path, expected: Expected, *, label: str | None = None) -> None:
        self.path, self.expected, self.label = path, expected, label or path.name
        self.size = 0
        self._limit = LIMIT_BYTES if expected.bytes is None else expected.bytes
        self._sha256 = hashlib.sha256()
        # A blob's length is part of its git hash and comes first.
        self._git = hashlib.sha1(f"blob {expected.bytes}\0".encode(), usedforsecurity=False)

    def __enter__(self) -> Self:
        with writing(self.path):
            self._file = self.path.open("xb")
        return self

    def write(self, chunk: bytes) -> None:
        """Adds a chunk.

        Raises:
            WrongSize: the file grows beyond what it should be.
            StoreUnwritable: the disk is full, say.
        """
        self.size += len(chunk)
        if self.size > self._limit:
            raise WrongSize(self.label, expected=self._limit, actual=self.size)
        self._sha256.update(chunk)
        if self.expected.git_sha1:
            self._git.update(chunk)
        with writing(self.path):
            self._file.write(chunk)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            with writing(self.path):
                self._file.close()
            if error is None:
                self._check()
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise
        if error is not None:
            self.path.unlink(missing_ok=True)

    def _check(self) -> None:
        expected = self.expected
        if expected.bytes is not None and self.size != expected.bytes:
            raise WrongSize(self.label, expected=expected.bytes, actual=self.size)
        if expected.sha256 and self.sha256 != expected.sha256:
            raise WrongChecksum(self.label, expected=expected.sha256, actual=self.sha256)
        if expected.git_sha1 and self._git.hexdigest() != expected.git_sha1:
            raise WrongChecksum(self.label, expected=f"git {expected.git_sha1}", actual=f"git {self._git.hexdigest()}")

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def described(self, checked: Checked) -> SourceFile:
        return SourceFile(name=self.path.name, sha256=self.sha256, bytes=self.size, checked=checked)
