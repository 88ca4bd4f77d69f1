"""Environments that have one version of an SDK each, and the scripts of checks that are run in them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent
HOMES = ROOT / ".venv-sdk"
PINS = Path(__file__).with_name("sdk_pins.txt")
"""What the SDKs stand on, so that a run today and one next year are the same."""

CURRENT = "current"
"""The openai SDK of the environment that the tests run in."""

OPENAI = ("openai[realtime]==1.109.1", "openai[realtime]==2.54.0", "openai[realtime]==3.54.0")
DEEPGRAM = ("deepgram-sdk==3.11.0", "deepgram-sdk==5.3.4", "deepgram-sdk==7.17.0")

VERSIONS = (CURRENT, OPENAI[0])
"""Those that the requests which are not live are tried with."""

_NO_INDEX = ("No matching distribution found", "Could not find a version", "Connection", "Temporary failure")


def check_names(script: str) -> list[str]:
    """Read from the script, not imported: the tests must be collected wherever they cannot run."""
    text = (SCRIPTS / f"{script}.py").read_text()
    return re.findall(r"^@check\n(?:async )?def (\w+)", text, re.MULTILINE)


def python_with(sdk: str) -> str:
    """The interpreter of an environment with this SDK, made on first use and kept.

    Skips the test where pip reaches no index that has it.
    """
    if sdk == CURRENT:
        return sys.executable
    home = HOMES / sdk.replace("[realtime]", "").replace("==", "-")
    python, made_of = home / "bin" / "python", home / "made-of.txt"
    wanted = f"{sdk}\n{PINS.read_text()}"
    if not made_of.exists() or made_of.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(home)], check=True)
        _install(python, sdk)
        made_of.write_text(wanted)
    return str(python)


def _install(python: Path, sdk: str) -> None:
    """With the pins, or, where a pinned version is not to be had, with what the index offers instead."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", sdk]
    for attempt in ([*command, "--constraint", str(PINS)], command):
        done = subprocess.run(attempt, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    if any(sign in done.stderr for sign in _NO_INDEX):
        pytest.skip(f"pip reaches no index with {sdk}: {done.stderr.strip().splitlines()[-1]}")
    raise AssertionError(done.stderr)


def run_checks(script: str, sdk: str, *arguments: str) -> dict[str, str | None]:
    """Each check with what went wrong in it."""
    command = [python_with(sdk), "-m", f"tests.api.{script}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    return outcomes
