"""An order in, what the process that computes it says out. The process ends with the one who listens."""

import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from tempfile import TemporaryFile
from typing import IO

from pydantic import ValidationError

from model_store.evaluate.errors import VariantFailed
from model_store.evaluate.messages import MESSAGE, Done, Failed, Heard, Order, Ready

COMMAND = (sys.executable, "-m", "model_store.evaluate.child")


def compute(order: Order, *, command: Sequence[str] = COMMAND) -> Generator[Ready | Heard | Done]:
    """`Ready`, what each recording was heard to say, `Done`. Closing the iterator ends the process.

    Raises:
        VariantFailed: it could not be loaded, failed on a recording, or the process ended before it was done.
    """
    with (
        TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,  # noqa: S603 - our own
    ):
        try:
            yield from _said(process, order, errors)
        finally:
            process.kill()


def _said(process: subprocess.Popen[bytes], order: Order, errors: IO[bytes]) -> Generator[Ready | Heard | Done]:
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    with suppress(BrokenPipeError), closing(process.stdin):  # it ended already: the reason follows
        process.stdin.write(order.model_dump_json().encode())
    for line in process.stdout:
        try:
            message = MESSAGE.validate_json(line)
        except ValidationError as error:
            raise VariantFailed(order.variant, f"its process said {line[:80]!r}") from error
        if isinstance(message, Failed):
            raise VariantFailed(order.variant, message.reason)
        yield message
        if isinstance(message, Done):
            return
    raise VariantFailed(order.variant, _end(process.wait(), errors))


def _end(status: int, errors: IO[bytes]) -> str:
    """Why a process ended before its time."""
    if status == -signal.SIGKILL:
        return "its process was killed, most likely for memory; free some, or evaluate a smaller variant"
    if status < 0:
        return f"its process was ended by {signal.Signals(-status).name}"
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines()
    return f"its process ended with status {status}: {lines[-1] if lines else 'it said nothing'}"
