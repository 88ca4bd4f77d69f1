"""Raw hypotheses, kept as JSON lines: the facts of a run in the first, a recording in each of the others.

Whatever is said of a variant is computed from such a file, so it can be scored again, by other rules, without
computing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from model_store.errors import writing
from model_store.evaluate.datasets import digest
from model_store.evaluate.errors import DataError
from model_store.evaluate.layouts import Utterance
from model_store.manifest import File, Manifest

K = TypeVar("K", bound=BaseModel)

FOLDER = ".evaluations"
"""Within the store, where the registry does not look for models."""

SCHEMA: Literal[1] = 1


class Run(BaseModel):
    """The facts of a run.

    Attributes:
        variant: `model:variant`, as its `files` were.
        device: the processor, with the threads that were used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA
    variant: str
    files: tuple[File, ...]
    device: str
    threads: int
    versions: dict[str, str]
    load_ms: float
    peak_bytes: int
    energy_j: float | None
    date: datetime


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was heard of an utterance: tokens of text, seconds of audio, seconds that the request took."""

    utterance: Utterance
    text: str
    tokens: int
    audio_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """A run with what was heard in it."""

    run: Run
    heard: tuple[Hypothesis, ...]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    set: str
    audio: str
    lang: str
    reference: str
    hypothesis: str
    tokens: int
    audio_s: float
    seconds: float


def place(root: Path, manifest: Manifest, utterances: Sequence[Utterance]) -> Path:
    """Where the hypotheses of a variant of these utterances are kept in the store at `root`."""
    return root / FOLDER / f"{manifest.model}-{manifest.variant}-{digest(utterances)[:16]}.jsonl"


@contextmanager
def kept(out: Path) -> Iterator[Callable[[Hypotheses], None]]:
    """Gives what writes the file, whole or not at all. That `out` cannot be written shows before the work is done.

    Raises:
        StoreUnwritable: as it says.
    """
    part = out.with_name(f"{out.name}.part")
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        part.touch()

    def write(hypotheses: Hypotheses) -> None:
        with writing(out):
            lines = [hypotheses.run.model_dump_json(), *(_line(one).model_dump_json() for one in hypotheses.heard)]
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            part.replace(out)

    try:
        yield write
    finally:
        part.unlink(missing_ok=True)


def read(file: Path) -> Hypotheses:
    """Hypotheses that were kept.

    Raises:
        DataError: they cannot be read, or are not such a file.
    """
    try:
        first, *others = file.read_bytes().splitlines()
    except OSError as error:
        raise DataError(file, f"it cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(file, "it is empty; evaluate again") from error
    run = _parsed(Run, first, file, 1)
    heard = tuple(_hypothesis(_parsed(_Line, line, file, number)) for number, line in enumerate(others, start=2))
    if not heard:
        raise DataError(file, "it holds no recording; evaluate again")
    return Hypotheses(run, heard)


def _line(one: Hypothesis) -> _Line:
    return _Line(
        set=one.utterance.set_name,
        audio=one.utterance.audio,
        lang=one.utterance.lang,
        reference=one.utterance.text,
        hypothesis=one.text,
        tokens=one.tokens,
        audio_s=one.audio_s,
        seconds=one.seconds,
    )


def _hypothesis(line: _Line) -> Hypothesis:
    utterance = Utterance(line.set, line.audio, Path(line.audio), line.reference, line.lang, line.audio_s)
    return Hypothesis(utterance, line.hypothesis, line.tokens, line.audio_s, line.seconds)


def _parsed(kind: type[K], line: bytes, file: Path, number: int) -> K:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        reason = f"{where + ': ' if where else ''}{fault['msg']}; it is no line of hypotheses"
        raise DataError(file, reason, line=number) from error
