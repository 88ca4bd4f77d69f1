"""`wren compress` as a user has it: a process, its output, its status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.compress.recipe import names
from model_store.registry import Registry
from tests.evaluate.recordings import manifest_folder
from tests.evaluate.stores import writable_store

MINE = """
name = "mine"
precision = "int8"
[[steps]]
step = "quantise"
form = "int8-weights"
[gate]
max_wer_growth = 50  # a few words of three clips
"""


def wren(*options: str | Path, store: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.cli", "compress", *map(str, options)]
    return subprocess.run(
        command, env={**os.environ, "WREN_STORE": str(store)}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writable_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return manifest_folder(tmp_path_factory.mktemp("data") / "packaged")


def test_a_recipe_of_ones_own_makes_a_variant(store: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    done = wren(
        "whisper-tiny.en", "-r", tmp_path / "mine.toml", "--data", data, "--threads", "1", "--json", store=store
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["variant"]["variant"] == "mine"
    assert told["wer_growth"]["points"] <= 50
    assert Registry(store).get("whisper-tiny.en", "mine").version == 1


def test_a_recipe_that_cannot_be_carried_out_is_told_and_the_next_is_taken(store: Path, data: Path) -> None:
    options = ("-r", "int8-static", "-r", "fp16", "--data", data, "--threads", "1", "--max-wer-growth", "50")
    done = wren("whisper-tiny.en", *options, store=store)
    assert done.returncode == 1
    assert "int8-static needs recordings" in done.stderr
    assert "whisper-tiny.en:fp16 is in the store" in done.stdout


def test_recordings_that_are_looked_at_and_judged_by_are_told(store: Path, data: Path) -> None:
    options = ("-r", "int8-static", "--max-wer-growth", "1000", "--threads", "1")
    done = wren("whisper-tiny.en", *options, "--data", data, "--calibration", data, store=store)
    assert done.returncode == 0, done.stderr
    assert "3 recordings are looked at and judged by" in done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("whisper-tiny.en", "-r", "int9"), "codebook, codebook4"),
        (("whisper-tiny.en", "-r", "int8"), "--data DIR"),
        (("whisper-huge", "-r", "int8"), "no 'whisper-huge"),
        (("whisper-tiny.en",), "--recipe"),
        (("whisper-tiny.en", "-r", "int8", "--data", "/nowhere"), "no such folder"),
    ],
)
def test_what_is_wrong_is_one_line(options: tuple[str, ...], told: str, store: Path) -> None:
    done = wren(*options, store=store)
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_recipes_are_listed(store: Path) -> None:
    done = wren("--list", store=store)
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(names())
