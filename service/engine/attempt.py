"""A variant and what is to be measured of it in, what its own process found out. See `service.engine.trial`.

A process is what a variant may take down with it: one that needs more memory than there is is killed, and one whose
file crashes the runtime dies, and the server that asked goes on.
"""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from service.engine.fingerprint import Conditions

T = TypeVar("T")

Stage = Literal["timings", "service"]

ELSEWHERE = 3
"""Status with which a process ends that could not begin: the last line of its errors says why."""


class CannotRun(Exception):
    """The variant was tried and failed; the message says how, without a full stop."""


class NotTried(Exception):
    """The store is damaged, or has no speech detector: once it is mended, the variant may well run."""


class OutOfTime(Exception):
    """The time was over before the variant was measured, which says nothing about it."""


class Interrupted(OutOfTime):
    """Somebody ended the process: Ctrl-C reaches it as well, and so does the end of a service."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something to be measured of a variant of a store; `device` as the setting has it."""

    stage: Stage
    store: Path
    name: str
    conditions: Conditions
    device: str = "auto"

    @property
    def command(self) -> list[str]:
        executors = self.conditions.executors
        asked = [f"--threads={self.conditions.threads}", f"--device={self.device}"]
        asked += [] if executors is None else [f"--executors={executors}"]
        program = [sys.executable, "-m", "service.engine.trial"]
        return [*program, self.stage, str(self.store), self.name, *asked]


def outcome(attempt: Attempt, kind: type[T], *, within_s: float) -> T:
    """What the process found, of this kind.

    Raises:
        CannotRun: it failed, or it did not live to say.
        NotTried: something else did.
        OutOfTime, Interrupted: it was ended.
    """
    try:
        done = subprocess.run(  # noqa: S603 - this very program
            attempt.command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=without_settings(os.environ),
            timeout=max(0.0, within_s),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OutOfTime(f"it takes more than {within_s:.0f} s") from error
    if done.returncode:
        raise failure(done.returncode, done.stderr.decode(errors="replace"))
    try:
        return TypeAdapter(kind).validate_json(done.stdout)
    except ValidationError as error:
        raise CannotRun(f"its process said {done.stdout[:80]!r}") from error


def failure(status: int, stderr: str) -> CannotRun | NotTried | Interrupted:
    """What it means that a process ended so."""
    if -status in (signal.SIGINT, signal.SIGTERM):
        return Interrupted("it was interrupted")
    if status == -signal.SIGKILL:
        return CannotRun("its process was killed, most likely for want of memory; to try again: wren profile --force")
    if status < 0:
        return CannotRun(f"its process was ended by {signal.Signals(-status).name}")
    lines = stderr.strip().splitlines()
    reason = lines[-1].strip().rstrip(".") if lines else f"its process ended with status {status}"
    return NotTried(reason) if status == ELSEWHERE else CannotRun(reason)


def without_settings(environment: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    """What this server was told is not meant for the one that is tried."""
    return {name: value for name, value in environment.items() if not name.startswith("WREN_")}
