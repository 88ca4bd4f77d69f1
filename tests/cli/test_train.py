"""`wren train` as a user has it: a process, its output, its status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.registry import Registry
from tests.evaluate.recordings import manifest_folder
from tests.evaluate.stores import writable_store
from tests.live import recording

RECIPE = """
name = "brief"
precision = "fp32"
[[steps]]
step = "adapt"
rank = 2
examples = {count = 8, longest_s = 3}
[steps.optimisation]
steps = 3
batch_s = 12
[gate]
max_wer_growth = 500  # it is hardly trained
"""


def wren(*options: str | Path, store: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.cli", "train", *map(str, options)]
    return subprocess.run(
        command, env={**os.environ, "WREN_STORE": str(store)}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writable_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "brief.toml"
    path.write_text(RECIPE)
    return path


def test_a_folder_of_audio_makes_a_variant(store: Path, recipe: Path, tmp_path: Path) -> None:
    data = manifest_folder(tmp_path / "packaged")
    audio = recording("en/counting").parent
    done = wren("whisper-tiny.en", "-r", recipe, "--training", audio, "--data", data, "--json", store=store)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["variant"]["variant"] == "brief"
    manifest = Registry(store).get("whisper-tiny.en", "brief")
    assert manifest.calibrated_on is not None
    assert manifest.calibrated_on.startswith("en (sha256 ")
    assert {path.name for path in (store / ".training" / "whisper-tiny.en-brief").iterdir()} >= {
        "adapter.safetensors",
        "curve-adapt.svg",
    }


def test_an_empty_folder_is_told(store: Path, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = wren("whisper-tiny.en", "-r", recipe, "--training", tmp_path / "empty", store=store)
    assert done.returncode == 1
    assert done.stderr.startswith("wren: ")
    assert "no recordings are known of" in done.stderr


def test_a_language_that_the_model_does_not_know_is_told(store: Path, recipe: Path) -> None:
    audio = recording("en/counting").parent
    done = wren("whisper-tiny.en", "-r", recipe, "--training", audio, "--language", "de", store=store)
    assert done.returncode == 1
    assert "does not know the language de" in done.stderr


def test_a_step_that_trains_is_not_for_compress(store: Path, tmp_path: Path) -> None:
    (tmp_path / "ungated.toml").write_text(RECIPE.partition("[gate]")[0])
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "compress", "whisper-tiny.en", "-r", str(tmp_path / "ungated.toml")],
        env={**os.environ, "WREN_STORE": str(store)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "wren train --training DIR" in done.stderr
