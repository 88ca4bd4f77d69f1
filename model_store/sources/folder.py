"""`file:` sources: a folder or a file of this machine in, checked copies out.

Copies, not links: what is converted must be what was hashed, even when the folder changes meanwhile.
"""

import re
from pathlib import Path

from model_store.catalog import FileSource, LocalFile
from model_store.errors import SourceMissing
from model_store.manifest import PLAIN_NAME, SourceFile
from model_store.report import Progress, Report
from model_store.sources.checked import CHUNK_BYTES, CheckedFile, Expected, Fetched


def fetch(source: FileSource, target: Path, *, report: Report) -> Fetched:
    """Copies the files of `source` into `target`.

    Raises:
        SourceError: the folder or a file is not there, or is not the one that the catalogue pins.
    """
    folder, wanted = _wanted(source)
    files = tuple(_copy(folder / file.name, target, file, report) for file in wanted)
    return Fetched(origin=source.label, files=files)


def _wanted(source: FileSource) -> tuple[Path, tuple[LocalFile, ...]]:
    path = source.path.expanduser()
    if path.is_file():
        return path.parent, source.files or (_local(path),)
    if not path.is_dir():
        raise SourceMissing(str(path), "there is no such file or folder")
    plain = (entry for entry in sorted(path.iterdir()) if entry.is_file() and re.match(PLAIN_NAME, entry.name))
    wanted = source.files or tuple(_local(entry) for entry in plain)
    if not wanted:
        raise SourceMissing(str(path), "the folder holds no files")
    return path, wanted


def _local(path: Path) -> LocalFile:
    if not re.match(PLAIN_NAME, path.name):
        raise SourceMissing(str(path), "its name has characters other than letters, digits, '.', '_' and '-'")
    return LocalFile(name=path.name)


def _copy(path: Path, target: Path, file: LocalFile, report: Report) -> SourceFile:
    try:
        source = path.open("rb")
    except OSError as error:
        raise SourceMissing(str(path), error.strerror or str(error)) from error
    with source, CheckedFile(target / file.name, Expected(sha256=file.sha256), label=str(path)) as copy:
        total = path.stat().st_size
        while chunk := source.read(CHUNK_BYTES):
            copy.write(chunk)
            report(Progress("fetch", file.name, copy.size, total))
    return copy.described("catalogue" if file.sha256 else "nothing")
