"""Nobody is told what is computed here: the runtime's own telemetry is off before it begins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT
from tests.store import STORE

LOADING = f"""
from pathlib import Path
from service.audio.vad import SpeechDetector
SpeechDetector(Path({str(STORE / "silero-vad" / "fp32" / "vad.onnx")!r}))
"""

BARE = f"""
import onnxruntime
onnxruntime.InferenceSession({str(STORE / "silero-vad" / "fp32" / "vad.onnx")!r})
"""


def kept(code: str, folder: Path) -> list[str]:
    """What a process leaves in its home and among its temporary files."""
    (folder / "home").mkdir()
    (folder / "tmp").mkdir()
    known = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    env = {**known, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True, timeout=60)
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_session_leaves_no_identity_and_no_events(tmp_path: Path) -> None:
    assert kept(LOADING, tmp_path) == []


def test_it_would_without_us(tmp_path: Path) -> None:
    """Else the test above can not fail."""
    found = kept(BARE, tmp_path)
    if not found:
        pytest.skip("this build of onnxruntime has no telemetry")
    assert "deviceid" in found


@pytest.mark.parametrize("package", ["service", "model_store"])
def test_each_package_switches_it_off(package: str) -> None:
    code = f"import os, {package}; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
