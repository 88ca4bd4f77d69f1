"""`wren search` as a user has it: real variants of a real model, judged as they serve."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.registry import Registry
from tests.evaluate.recordings import manifest_folder
from tests.evaluate.stores import writable_store

SPACE = """
[recipe]
precision = "int8"
steps = [{step = "quantise", form = "fp16"}, {step = "quantise", form = "int8", layers = ["encoder.*"]}]
[vary]
"steps.1.form" = ["int8", "int4", "fp64"]
"""


def wren(*options: str | Path, store: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.cli", "search", *map(str, options)]
    return subprocess.run(
        command, env={**os.environ, "WREN_STORE": str(store)}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writable_store(tmp_path_factory.mktemp("store"))


def test_the_front_is_told_and_registered_where_asked(store: Path, tmp_path: Path) -> None:
    data = manifest_folder(tmp_path / "data")
    (tmp_path / "forms.toml").write_text(SPACE.replace(', "fp64"', ""))
    options = ("whisper-tiny.en", "--space", tmp_path / "forms.toml", "--data", data, "--sampler", "grid")
    done = wren(*options, "--register", "--json", "--threads", "2", store=store)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["trials"]) == 2
    assert all(one["objectives"]["bytes"] > 1e7 for one in told["trials"])
    assert told["front"]
    registry = Registry(store)
    for number in told["front"]:
        assert registry.get("whisper-tiny.en", f"trial-{number}").recipe == f"trial-{number}"
        assert (store / ".search" / "whisper-tiny.en-forms" / f"trial-{number}.toml").exists()
    again = wren(*options, store=store)
    assert again.returncode == 0, again.stderr
    assert "trial 0" not in again.stderr
    assert "beaten by none" in again.stdout


def test_a_wrong_value_is_told_before_anything_is_tried(store: Path, tmp_path: Path) -> None:
    data = manifest_folder(tmp_path / "data")
    (tmp_path / "wrong.toml").write_text(SPACE)
    done = wren("whisper-tiny.en", "--space", tmp_path / "wrong.toml", "--data", data, store=store)
    assert done.returncode == 1
    assert done.stderr.startswith("wren: ")
    assert "form" in done.stderr
