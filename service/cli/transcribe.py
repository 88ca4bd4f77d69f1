"""`wren transcribe`: files or standard input in, text out.

Only transcripts go to standard output. A file that fails is named on standard error; the others are still done.
"""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import ModelOption, StoreOption, read_settings, reported
from service.cli.outputs import Format, Job, plan_jobs

if TYPE_CHECKING:
    from service.settings import Settings


class Task(StrEnum):
    """What to do with the speech."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


def transcribe(  # noqa: PLR0913 - one parameter an option
    files: Annotated[list[Path], typer.Argument(help="Recordings; - is standard input.", metavar="FILE...")],
    *,
    output: Annotated[Format, typer.Option("--format", "-f", help="Shape of the transcript.")] = Format.TEXT,
    model: ModelOption = None,
    language: Annotated[str | None, typer.Option(help="ISO-639-1 code; left out, it is detected.")] = None,
    task: Annotated[Task, typer.Option(help="translate makes English of any language.")] = Task.TRANSCRIBE,
    prompt: Annotated[str | None, typer.Option(help="Text that the speech is taken to follow.")] = None,
    hotwords: Annotated[str | None, typer.Option(help="Words to expect, separated by commas.")] = None,
    words: Annotated[bool, typer.Option("--words", help="Times of words, for verbose_json and subtitles.")] = False,
    output_dir: Annotated[Path | None, typer.Option(help="Write a file a recording into this folder.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Headerless audio: linear16, float32, mulaw, alaw.")] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Headerless audio: its rate in Hz.")] = None,
    channels: Annotated[int | None, typer.Option(help="Headerless audio: its channels, interleaved.")] = None,
    store: StoreOption = None,
) -> None:
    """Transcribe recordings to text, JSON or subtitles."""
    jobs = _jobs(files, output_dir, output)
    settings = read_settings(store=store, model=model, profile_s=0)  # nobody waits half a minute for a sentence
    fields = {
        "model": settings.model,
        "language": language,
        "prompt": prompt,
        "hotwords": hotwords,
        "response_format": output.value,
        "timestamp_granularities": "word" if words else None,
        "encoding": encoding,
        "sample_rate": sample_rate,
        "channels": channels,
    }
    with reported(settings):
        failed = _run(settings, fields, jobs, task=task, output=output)
    if failed:
        raise typer.Exit(1)


def _run(
    settings: "Settings", fields: dict[str, str | int | None], jobs: tuple[Job, ...], *, task: Task, output: Format
) -> int:
    """How many recordings failed. The options are checked as the server checks the fields of a request."""
    from service import logs
    from service.api import forms
    from service.cli.transcription import Transcription
    from service.engine.engine import LocalEngine

    logs.configure(log_format=settings.log_format, level="warning")
    form = forms.parse([(name, str(value)) for name, value in fields.items() if value is not None])
    return asyncio.run(Transcription(LocalEngine(settings), form, task=task.value, output=output).run(jobs))


def _jobs(files: list[Path], folder: Path | None, output: Format) -> tuple[Job, ...]:
    try:
        return plan_jobs(files, folder, output)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
