"""Where each transcript goes and how it looks there. Pure."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

STDIN = Path("-")


class Format(StrEnum):
    """The formats of the HTTP protocol, by their names there."""

    TEXT = "text"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"

    @property
    def suffix(self) -> str:
        return {Format.TEXT: ".txt", Format.VERBOSE_JSON: ".json"}.get(self, f".{self.value}")

    @property
    def is_json(self) -> bool:
        return self in (Format.JSON, Format.VERBOSE_JSON)


@dataclass(frozen=True, slots=True)
class Job:
    """A recording and the file for its transcript; None is standard output."""

    source: Path
    target: Path | None

    @property
    def name(self) -> str:
        return "standard input" if self.source == STDIN else str(self.source)


def plan_jobs(sources: Sequence[Path], folder: Path | None, output: Format) -> tuple[Job, ...]:
    """A transcript has its recording's name; the recording's suffix stays where it tells two recordings apart.

    Raises:
        ValueError: two transcripts would be one file, or subtitles of several recordings would run together.
    """
    if folder is None:
        if len(sources) > 1 and output in (Format.SRT, Format.VTT):
            raise ValueError(f"{output.value} of several recordings would run together: add --output-dir")
        return tuple(Job(source, None) for source in sources)
    stems = Counter(_stem(source) for source in sources)
    names = [_stem(source) if stems[_stem(source)] == 1 else source.name for source in sources]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"two recordings would be written to {folder / (twice[0] + output.suffix)}")
    return tuple(Job(source, folder / (name + output.suffix)) for source, name in zip(sources, names, strict=True))


def shown(job: Job, body: str, output: Format, *, several: bool) -> str:
    """The body as standard output gets it: of several recordings each line says whose it is."""
    if several and output.is_json:
        return json.dumps({"file": str(job.source), **json.loads(body)}, ensure_ascii=False) + "\n"
    if several:
        return f"{job.source}: {body.strip()}\n"
    return body if body.endswith("\n") or not body else body + "\n"


def _stem(source: Path) -> str:
    return "stdin" if source == STDIN else source.stem
