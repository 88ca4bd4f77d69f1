"""What a pull reports in, a progress bar out: on a terminal it moves, in a log it is a line for each step."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn, TransferSpeedColumn

from model_store.report import Progress as Step
from model_store.report import Stage

SAID: dict[Stage, str] = {
    "fetch": "Downloading",
    "check": "Checking",
    "convert": "Building:",
    "store": "Storing",
    "wait": "Waiting for",
    "note": "Note:",
}


class PullProgress:
    """Shows the steps of pulling `name` on standard error, which leaves standard output to results."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._shown: tuple[Stage, str] | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, step: Step) -> None:
        """A `model_store.report.Report`."""
        if step.stage == "note":
            self._console.print(f"{self._name}: {step.what}")
            return
        if (step.stage, step.what) != self._shown:
            self._begin(step)
        if self._task is not None:
            self._bars.update(self._task, completed=step.done, total=step.total)

    def _begin(self, step: Step) -> None:
        self._shown = (step.stage, step.what)
        if self._task is not None:
            self._bars.remove_task(self._task)
        said = f"{self._name}: {SAID[step.stage]} {step.what}"
        self._task = self._bars.add_task(said, total=step.total)
        if not self._console.is_terminal and step.stage in ("fetch", "convert"):
            size = f" ({decimal(step.total)})" if step.stage == "fetch" and step.total else ""
            self._console.print(said + size)
