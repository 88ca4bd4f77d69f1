"""Environments with a version of the openai SDK each, and the checks run in them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("sdk_checks.py")
OLD_VERSION = "1.109.1"
OLD_HOME = ROOT / ".venv-openai-1"
VERSIONS = ("current", OLD_VERSION)

_NO_INDEX = ("No matching distribution found", "Could not find a version", "Connection", "Temporary failure")


def check_names() -> list[str]:
    """Read from the script, not imported: the tests must be collected wherever they cannot run."""
    return re.findall(r"^@check\ndef (\w+)", SCRIPT.read_text(), re.MULTILINE)


def python_with(version: str) -> str:
    """The interpreter of an environment with this SDK; the old one is made on first use and kept.

    Skips the test where pip reaches no index that has it.
    """
    if version == "current":
        return sys.executable
    python = str(OLD_HOME / "bin" / "python")
    if _version_in(python) != version:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(OLD_HOME)], check=True)
        install = [python, "-m", "pip", "install", "--quiet", f"openai=={version}"]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode != 0 and any(sign in done.stderr for sign in _NO_INDEX):
            pytest.skip(f"pip reaches no index with openai=={version}: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
    return python


def run_checks(version: str, *, base_url: str, key: str, recording: Path, word: str) -> dict[str, str | None]:
    """Each check with what went wrong in it."""
    command = [python_with(version), str(SCRIPT), base_url, key, str(recording), word]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, str | None] = json.loads(done.stdout)
    return outcomes


def _version_in(python: str) -> str | None:
    if not Path(python).exists():
        return None
    ask = [python, "-c", "import openai; print(openai.__version__)"]
    return subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip() or None
