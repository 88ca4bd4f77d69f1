"""What happens on a live stream to standard output: finals as lines, and on a terminal the open segment below them."""

import sys
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from service.cli.options import complain
from service.cli.spoken import Spoken, line_of, preview


class Screen:
    """For the time of one stream.

    Attributes:
        failed: finals that could not be recognised.
    """

    def __init__(self, *, json: bool, times: bool) -> None:
        self._json, self._times = json, times
        self._console = Console(file=sys.stdout, highlight=False, markup=False)
        watched = self._console.is_terminal and not json
        self._live = Live(console=self._console, transient=True, auto_refresh=False) if watched else None
        self.failed = 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, event: Spoken) -> None:
        if event.error is not None:
            self.failed += 1
            complain(f"{event.start:.2f} to {event.end:.2f} s: {event.error}")
        if self._json:
            typer.echo(event.model_dump_json(exclude_none=True))
        elif event.type == "final":
            self._preview(Text())
            if event.text:
                self._print(line_of(event, times=self._times))
        elif event.type == "interim":
            self._preview(preview(event, width=self._console.width))

    def _print(self, line: str) -> None:
        if self._live is None:
            typer.echo(line)
        else:
            self._console.print(line, soft_wrap=True)

    def _preview(self, text: Text) -> None:
        if self._live is not None:
            self._live.update(text, refresh=True)
