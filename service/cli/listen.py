"""`wren listen`: a microphone, a recording or standard input in, text out while it is spoken.

Only what is said goes to standard output. An interrupt ends the audio: what was said is still told; the next one stops
at once.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import ModelOption, StoreOption, fail, read_settings, reported
from service.cli.outputs import STDIN
from service.cli.remote import KeyOption, server_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from service.audio.types import RawFormat
    from service.cli.listening import Line
    from service.engine.streaming import StreamRequest
    from service.settings import Settings

INTERRUPTED = 130
"""Status of what an interrupt stopped: 128 and the number of the signal, as shells have it."""


def listen(  # noqa: PLR0913 - one parameter an option
    source: Annotated[
        Path | None, typer.Argument(help="A recording; - is standard input; left out, it is the microphone.")
    ] = None,
    *,
    fast: Annotated[bool, typer.Option("--fast", help="A recording as quickly as it goes.")] = False,
    times: Annotated[bool, typer.Option("--times", help="Put [start-end] before what was said.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for all that happens.")] = False,
    model: ModelOption = None,
    language: Annotated[str | None, typer.Option(help="ISO-639-1 code; left out, it is detected.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text that the speech is taken to follow.")] = None,
    hotwords: Annotated[str | None, typer.Option(help="Words to expect, separated by commas.")] = None,
    endpointing: Annotated[
        int | None, typer.Option(min=0, max=10_000, help="Milliseconds of silence that end a turn.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Headerless audio: linear16, float32, mulaw, alaw.")] = None,
    rate: Annotated[int | None, typer.Option(help="Headerless audio: its rate in Hz.")] = None,
    channels: Annotated[int | None, typer.Option(help="Headerless audio: its channels, interleaved.")] = None,
    device: Annotated[str | None, typer.Option(help="Microphone: its number, or a part of its name.")] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Show the microphones, and end.")] = False,
    server: Annotated[
        str | None, typer.Option(help="Stream to the server at HOST:PORT or a URL.", show_default=False)
    ] = None,
    key: KeyOption = None,
    store: StoreOption = None,
) -> None:
    """Transcribe speech while it is spoken."""
    if list_devices:
        from service.cli import microphone

        typer.echo(microphone.devices())
        return
    settings = read_settings(store=store, model=model, profile_s=0)
    if server is not None and prompt is not None:
        fail("A server takes no --prompt for a stream. Use --hotwords, or leave out --server.")
    fields = {
        "model": settings.model,
        "language": language,
        "prompt": prompt,
        "hotwords": hotwords,
        "timestamp_granularities": "word" if as_json else None,
        "encoding": encoding or ("linear16" if rate else None),
        "sample_rate": rate,
        "channels": channels,
    }
    with _explained(), reported(settings) if server is None else nullcontext():
        asked = _asked(fields, endpointing)
        raw, audio = _audio(source, asked.raw, fast=fast, device=device)
        line = _line(settings, server, key, replace(asked, raw=raw))
        failed = _run(line, audio, as_json=as_json, times=times)
    if failed:
        raise typer.Exit(1)


def _asked(fields: dict[str, str | int | None], endpointing: int | None) -> "StreamRequest":
    """The options are checked as the server checks the fields of a request."""
    from service.api import forms
    from service.engine.streaming import StreamRequest

    form = forms.parse([(name, str(value)) for name, value in fields.items() if value is not None])
    vad = form.vad() if endpointing is None else replace(form.vad(), silence_duration_ms=endpointing)
    return StreamRequest(form.model, form.options("transcribe"), form.raw(), vad)


def _audio(
    source: Path | None, raw: "RawFormat | None", *, fast: bool, device: str | None
) -> "tuple[RawFormat | None, AsyncIterator[bytes]]":
    """The sound, and how it is laid out."""
    from service.cli import microphone
    from service.cli.sources import PLAIN, piped, recorded

    if source is None:
        return PLAIN, microphone.spoken_into(device)
    if source == STDIN:
        return raw, piped()
    return PLAIN, recorded(source, raw, fast=fast)


def _line(
    settings: "Settings", server: str | None, key: str | None, request: "StreamRequest"
) -> "AbstractAsyncContextManager[Line]":
    if server is not None:
        from service.cli.remote_line import remote_line

        return remote_line(*server_of(server, key), request)
    from service import logs
    from service.cli.listening import engine_line
    from service.engine.engine import LocalEngine

    logs.configure(log_format=settings.log_format, level="warning")
    return engine_line(LocalEngine(settings), request)


def _run(
    line: "AbstractAsyncContextManager[Line]", audio: "AsyncIterator[bytes]", *, as_json: bool, times: bool
) -> int:
    """How many finals failed."""
    from service.cli import listening
    from service.cli.screen import Screen

    screen = Screen(json=as_json, times=times)
    try:
        asyncio.run(listening.listen(line, audio, screen))
    except asyncio.CancelledError:
        raise typer.Exit(INTERRUPTED) from None
    return screen.failed


@contextmanager
def _explained() -> Iterator[None]:
    """Ends the command with one line where the sound cannot be had, or a server is asked what cannot be."""
    from service.errors import WrenError

    try:
        yield
    except BrokenPipeError:  # nobody reads on: typer ends quietly
        raise
    except OSError as error:
        fail(f"{error.filename or 'The sound'}: {error.strerror}")
    except WrenError as error:
        fail(str(error))
