import json
from pathlib import Path

import pytest

from service.engine.profiles import FOLDER
from tests.cli.running import wren
from tests.engine.stores import linked_store, ruin

TINY = "whisper-tiny.en"
CORES = ("--cores", "1")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a variant that can be run and one that cannot."""
    store = linked_store(tmp_path_factory.mktemp("store"), f"{TINY}/int8", "moonshine-tiny/int8", "silero-vad/fp32")
    ruin(store / "moonshine-tiny" / "int8")
    return store


def test_a_profile_is_measured_once_and_shown(store: Path) -> None:
    first = wren("profile", *CORES, "--store", store)
    assert first.returncode == 0
    assert f"measuring {TINY}:int8 (2 of 2)" in first.stderr
    (row,) = (line for line in first.stdout.splitlines() if line.startswith(f"{TINY}:int8"))
    assert "1 x 1 threads" in row
    assert "moonshine-tiny:int8 cannot run here: " in first.stdout
    assert "onnxruntime" in first.stdout.splitlines()[-1]
    second = wren("profile", *CORES, "--store", store)
    assert (second.stdout, second.stderr) == (first.stdout, "")

    told = json.loads(wren("profile", TINY, *CORES, "--json", "--store", store).stdout)
    assert told["conditions"]["threads"] == 1
    assert told["profiles"][f"{TINY}:int8"]["service"]["latency_ms"] > 0
    assert told["cannot_run"] == {}


def test_what_failed_is_tried_again_by_force(store: Path) -> None:
    asked = ("profile", "moonshine-tiny:int8", *CORES, "--store", store)
    wren(*asked)
    assert wren(*asked).stderr.splitlines() == ["wren: Nothing could be measured."]
    forced = wren(*asked, "--force")
    assert forced.returncode == 1
    assert "measuring moonshine-tiny:int8 (1 of 1)" in forced.stderr


def test_a_name_that_is_not_there_is_told_with_those_that_are(store: Path) -> None:
    done = wren("profile", "whisper-large", "--store", store)
    assert done.returncode == 1
    assert "has no whisper-large; it has moonshine-tiny:int8, whisper-tiny.en:int8." in done.stderr
    assert "wren models pull whisper-large" in done.stderr


def test_more_cores_than_there_are_cannot_be_measured(store: Path) -> None:
    done = wren("profile", "--cores", "4096", "--store", store)
    assert done.returncode == 1
    assert "not 4096" in done.stderr


def test_profiles_need_a_place(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8", "silero-vad/fp32")
    (store / FOLDER).write_text("not a folder")
    done = wren("profile", *CORES, "--store", store)
    assert done.returncode == 1
    assert f"{FOLDER}, which cannot be written to" in done.stderr
