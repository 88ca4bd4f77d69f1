"""The ways in which recordings and references lie on a disk; each in, its sets out.

- manifests: a folder with `manifest.jsonl`, or folders with one each: one JSON object a line, with `audio` (a path
  within the folder), `text`, `lang`, and if known `duration_s`.
- LibriSpeech: `…/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt` beside the .flac files that it names.
- loose: any folder of audio, without texts, where none are needed.
- Common Voice: `test.tsv` and its like, with `path`, `sentence` and `locale`, beside `clips/`.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ValidationError

from model_store.evaluate.errors import DataError

MANIFEST = "manifest.jsonl"

COMMON_VOICE_SETS = ("test", "dev", "validated", "train", "other")
"""The first that is there is taken unless others are asked for: `validated` holds most of `test`, `dev` and `train`."""

_AUDIO = frozenset(
    (".wav", ".flac", ".mp3", ".m4a", ".mp4", ".ogg", ".oga", ".opus", ".webm", ".aac", ".aiff", ".wma", ".amr")
)

LIBRISPEECH_DEPTH = 4
"""Folders between the one that is named and a chapter's, at most: LibriSpeech/test-clean/SPEAKER/CHAPTER."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording with what is said in it.

    Attributes:
        set_name: the set it belongs to.
        audio: its file, as a path within the set.
        path: where that lies on this machine.
        text: the reference; empty where there is none.
        lang: ISO-639-1 code.
        duration_s: as the set has it, None if it does not say.
    """

    set_name: str
    audio: str
    path: Path
    text: str
    lang: str
    duration_s: float | None = None

    @property
    def name(self) -> str:
        return f"{self.set_name}/{self.audio}"


@dataclass(frozen=True, slots=True)
class Layout:
    """The sets of a folder, each read when it is asked for, and the names of those that are taken by default."""

    sets: dict[str, Callable[[], Iterator[Utterance]]]
    default: tuple[str, ...]


def manifests(data: Path) -> Layout | None:
    """The set of this folder, or those of its subfolders."""
    folders = [data] if (data / MANIFEST).is_file() else sorted(path.parent for path in data.glob(f"*/{MANIFEST}"))
    if not folders:
        return None
    sets = {folder.name: partial(_manifest, folder) for folder in folders}
    return Layout({**sets}, tuple(sets))


def common_voice(data: Path) -> Layout | None:
    there = [name for name in COMMON_VOICE_SETS if (data / f"{name}.tsv").is_file()]
    if not there or not (data / "clips").is_dir():
        return None
    return Layout({name: partial(_common_voice, data, name) for name in there}, (there[0],))


def librispeech(data: Path) -> Layout | None:
    """A set for each folder of speakers."""
    chapters: dict[Path, list[Path]] = {}
    for depth in range(LIBRISPEECH_DEPTH + 1):
        for path in sorted(data.glob("*/" * depth + "*.trans.txt")):
            chapters.setdefault(path.parent.parent.parent, []).append(path)
    if not chapters:
        return None
    sets = {folder.name: partial(_librispeech, folder, paths) for folder, paths in sorted(chapters.items())}
    return Layout({**sets}, tuple(sets))


def loose(data: Path, lang: str) -> Layout | None:
    """Whatever is audio by its name, at any depth, in one language; nobody knows what is said in it."""
    found = sorted(path for path in data.rglob("*") if path.suffix.lower() in _AUDIO and path.is_file())
    if not found:
        return None
    return Layout({data.name: partial(_loose, data, found, lang)}, (data.name,))


class _Row(BaseModel):
    """What is read of a manifest's line; there may be more in it."""

    audio: str
    text: str | None = None
    lang: str
    duration_s: float | None = None


def _manifest(folder: Path) -> Iterator[Utterance]:
    file = folder / MANIFEST
    for number, line in _lines(file):
        try:
            row = _Row.model_validate_json(line)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise DataError(file, f"{where + ': ' if where else ''}{fault['msg']}", line=number) from error
        path = _recording(folder, row.audio, told_in=file, line=number)
        yield Utterance(folder.name, row.audio, path, row.text or "", row.lang, row.duration_s)


def _common_voice(data: Path, name: str) -> Iterator[Utterance]:
    file = data / f"{name}.tsv"
    columns: list[str] = []
    for number, line in _lines(file):
        cells = line.split("\t")  # there is no quoting: csv would refuse long cells besides
        if not columns:
            columns = cells
            continue
        row = dict(zip(columns, cells, strict=False))
        if lacking := [column for column in ("path", "sentence", "locale") if column not in row]:
            raise DataError(file, f"it has no {', '.join(lacking)}; take the file as Common Voice has it", line=number)
        path = _recording(data / "clips", row["path"], told_in=file, line=number)
        # A locale such as zh-CN: the recogniser knows languages.
        yield Utterance(name, row["path"], path, row["sentence"], row["locale"].partition("-")[0])


def _librispeech(folder: Path, files: list[Path]) -> Iterator[Utterance]:
    for file in files:
        for number, line in _lines(file):
            identity, _, text = line.partition(" ")
            path = _recording(file.parent, f"{identity}.flac", told_in=file, line=number)
            yield Utterance(folder.name, path.relative_to(folder).as_posix(), path, text, "en")


def _loose(data: Path, found: list[Path], lang: str) -> Iterator[Utterance]:
    for path in found:
        yield Utterance(data.name, path.relative_to(data).as_posix(), path, "", lang)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(file, f"it cannot be read ({reason})") from error
    # Not splitlines: it also cuts at separators of Unicode, which sentences may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def _recording(folder: Path, audio: str, *, told_in: Path, line: int) -> Path:
    """Where a recording lies. A link on the disk may lead out of the folder, what a file says may not."""
    path = Path(os.path.normpath(folder / audio))
    if not path.is_relative_to(folder):
        raise DataError(told_in, f"the recording {audio!r} lies outside of {folder}; move it there", line=line)
    if not path.is_file():
        raise DataError(told_in, f"the recording {path} is missing; fetch it or strike the line", line=line)
    return path
