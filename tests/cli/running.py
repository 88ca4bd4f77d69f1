"""The command line as a user runs it: a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

WREN = (sys.executable, "-m", "service.cli")
ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120


def wren(
    *arguments: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end, in the root of the project."""
    done = subprocess.run(
        [*WREN, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env=clean_env() | dict(env or {}),
        cwd=ROOT,
        timeout=TIMEOUT_S,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def clean_env() -> dict[str, str]:
    """The environment without what a developer may have set for Wren, but for the store; nothing wraps lines."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WREN_") or name == "WREN_STORE"}
    return kept | {"COLUMNS": "200", "NO_COLOR": "1", "WREN_PROFILE_S": "0"}
