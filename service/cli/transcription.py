"""Recordings in, transcripts in their places out, by the same engine and the same renderers as the server's."""

import asyncio
import math
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from service.api import formats, forms
from service.audio.duration import promised_duration_s
from service.cli.bar import progress_bar
from service.cli.options import complain
from service.cli.outputs import STDIN, Format, Job, shown
from service.engine.types import Engine, Request, Served
from service.errors import WrenError
from service.recognition.types import Task, Transcript


class Transcription:
    """One call of the command: the same engine and options for every recording."""

    def __init__(self, engine: Engine, form: forms.TranscriptionForm, *, task: Task, output: Format) -> None:
        self._engine, self._form = engine, form
        self._task, self._output = task, output

    async def run(self, jobs: tuple[Job, ...]) -> int:
        """How many recordings failed. A failure is told on standard error and the next recording taken."""
        await self._engine.start()
        try:
            return sum([not await self._done(job, several=len(jobs) > 1) for job in jobs])
        finally:
            await self._engine.close()

    async def _done(self, job: Job, *, several: bool) -> bool:
        try:
            transcript = await self._transcript(job)
            self._write(job, transcript, several=several)
        except WrenError as error:
            complain(f"{job.name}: {error}")
            return False
        except OSError as error:
            complain(f"{error.filename or job.name}: {error.strerror}")
            return False
        return True

    async def _transcript(self, job: Job) -> Transcript:
        request, total_s = await asyncio.to_thread(self._request, job)
        with progress_bar(job.name, total=total_s) as advance:
            transcript = await _heard(self._engine, request, advance)
        for warning in transcript.warnings:
            complain(f"{job.name}: {warning}")
        return transcript

    def _request(self, job: Job) -> tuple[Request, float | None]:
        """What the engine is asked, and how long the recording promises to be."""
        form, raw = self._form, self._form.raw()
        audio: bytes | Path = sys.stdin.buffer.read() if job.source == STDIN else _readable(job.source)
        total_s = promised_duration_s(audio) if isinstance(audio, Path) and raw is None else None
        # Nobody else waits for the machine here, and whoever has waited long enough presses Ctrl-C.
        asked = Request(audio, form.model, form.options(self._task), form.vad(), raw, deadline_s=math.inf)
        return asked, total_s

    def _write(self, job: Job, transcript: Transcript, *, several: bool) -> None:
        body = formats.render(transcript, self._output.value, words=self._form.wants_words).content
        if job.target is None:
            typer.echo(shown(job, body, self._output, several=several), nl=False)
            return
        job.target.parent.mkdir(parents=True, exist_ok=True)
        job.target.write_text(body, encoding="utf-8")


async def _heard(engine: Engine, request: Request, advance: Callable[[float], None]) -> Transcript:
    served: Served | None = None
    async for item in engine.stream(request):
        if isinstance(item, Served):
            served = item
        else:
            advance(item.end_s)
    if served is None:
        raise AssertionError("the engine's stream must end with the whole")
    return served.transcript


def _readable(path: Path) -> Path:
    with path.open("rb"):  # fails now for a folder and for what is not there
        return path
