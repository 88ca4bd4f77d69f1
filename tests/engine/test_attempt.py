import signal
from dataclasses import replace
from pathlib import Path

import pytest

from service.engine.attempt import (
    Attempt,
    CannotRun,
    Interrupted,
    NotTried,
    OutOfTime,
    failure,
    outcome,
    without_settings,
)
from service.engine.fingerprint import Conditions
from service.engine.profile import Profile
from tests.store import STORE

ONE_CORE = Conditions(threads=1, executors=None, memory_class=4)


def attempt(store: Path, name: str = "whisper-tiny.en:int8") -> Attempt:
    return Attempt("timings", store, name, ONE_CORE)


def test_what_is_asked_of_the_server_is_asked_of_the_process() -> None:
    wanted = ["timings", str(STORE), "whisper-tiny.en:int8", "--threads=1", "--device=auto"]
    assert attempt(STORE).command[-5:] == wanted
    asked = Attempt("service", STORE, "m:v", replace(ONE_CORE, executors=3), device="cuda:1")
    assert asked.command[-3:] == ["--threads=1", "--device=cuda:1", "--executors=3"]


def test_settings_of_this_server_are_not_for_the_process() -> None:
    assert without_settings({"PATH": "/bin", "WREN_MEMORY": "1MB", "WREN_MODEL": "another"}) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("status", "stderr", "reason"),
    [
        (
            -signal.SIGKILL,
            "",
            "its process was killed, most likely for want of memory; to try again: wren profile --force",
        ),
        (-signal.SIGSEGV, "a warning\n", "its process was ended by SIGSEGV"),
        (1, "Traceback\n  a line\nRuntimeError: this and that.\n", "RuntimeError: this and that"),
        (2, " \n", "its process ended with status 2"),
    ],
)
def test_how_a_process_ended_is_told(status: int, stderr: str, reason: str) -> None:
    failed = failure(status, stderr)
    assert isinstance(failed, CannotRun)
    assert str(failed) == reason


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_was_ended_by_somebody_says_nothing_of_the_variant(number: int) -> None:
    assert isinstance(failure(-number, "Traceback\nKeyboardInterrupt\n"), Interrupted)


def test_a_process_that_fails_says_why_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(NotTried, match=r"^The store has no 'whisper-tiny\.en:int8'"):
        outcome(attempt(tmp_path), Profile, within_s=60)


def test_a_process_that_takes_too_long_is_ended() -> None:
    with pytest.raises(OutOfTime):
        outcome(attempt(STORE), Profile, within_s=0.01)
