"""`wren evaluate` as a user runs it, with real models and recordings."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_store.registry import Registry
from tests.cli.running import ROOT, TIMEOUT_S, WREN, clean_env, wren
from tests.evaluate.recordings import common_voice_folder, manifest_folder
from tests.evaluate.stores import writable_store

NAMES = ("whisper-tiny.en:fp32", "whisper-tiny.en:int8")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writable_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    manifest_folder(root / "one", "en/quick_brown_fox", "en/hello_world")
    manifest_folder(root / "two", "en/counting", "es/hola_mundo")
    return root


def test_table_goes_to_standard_output_and_the_figures_into_the_manifests(store: Path, data: Path) -> None:
    done = wren("evaluate", *NAMES, "--data", data, "--threads", "1", "--store", store)
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()
    assert [line.split()[0] for line in table if line] == ["VARIANT", *NAMES, "WER", "one", "two"]
    left_out = "left out 1 recordings in languages that it does not know"
    assert done.stderr.splitlines() == [f"wren: {name}: {left_out}" for name in NAMES]
    for name in NAMES:
        (found,) = Registry(store).get(*name.split(":")).evaluations
        assert (found.data, found.recordings, found.threads) == ("one+two", 3, 1)


def test_json_tells_of_growth_sets_and_hypotheses_that_can_be_scored_again(store: Path, data: Path) -> None:
    done = wren("evaluate", "whisper-tiny.en", "--data", data, "--sets", "one", "--json", "--store", store)
    assert done.returncode == 0, done.stderr
    base, int8 = json.loads(done.stdout)
    assert (base["variant"], base["over_parent"]) == (NAMES[0], None)
    assert int8["over_parent"]["low"] <= int8["over_parent"]["points"] <= int8["over_parent"]["high"]
    assert int8["wer_by_set"] == {"one": int8["evaluation"]["wer"]}
    (again,) = json.loads(wren("evaluate", "--from", int8["hypotheses"], "--json").stdout)
    assert again["evaluation"] == int8["evaluation"]
    assert again["size_bytes"] == int8["size_bytes"]


def test_hypotheses_can_be_kept_elsewhere(store: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "heard.jsonl"
    done = wren("evaluate", NAMES[1], "--data", data / "one", "--limit", "1", "--out", out, "--store", store)
    assert done.returncode == 0, done.stderr
    assert len(out.read_text().splitlines()) == 2
    both = wren("evaluate", *NAMES, "--data", data / "one", "--out", out, "--store", store)
    assert both.returncode == 1
    assert "--out is for one variant" in both.stderr


def test_common_voice_is_read_as_it_comes(store: Path, tmp_path: Path) -> None:
    voice = common_voice_folder(tmp_path / "cv", "en/hello_world", "es/hola_mundo")
    done = wren("evaluate", NAMES[1], "--data", voice, "--lang", "en", "--json", "--store", store)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)[0]["evaluation"]["recordings"] == 1


def test_what_is_wrong_is_one_line(store: Path, data: Path, tmp_path: Path) -> None:
    for arguments, told in (
        ((NAMES[0], "--data", tmp_path), "it should hold a manifest.jsonl"),
        ((NAMES[0], "--data", data, "--sets", "three"), "it has no set 'three'; in it: one, two"),
        (("whisper-tiny.en:int3", "--data", data), "The store has no 'whisper-tiny.en:int3'"),
        (("silero-vad:fp32", "--data", data), "it writes no text"),
        (("--from", tmp_path / "none.jsonl"), "No such file"),
    ):
        done = wren("evaluate", *arguments, "--store", store)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert told in done.stderr
    done = wren("evaluate", NAMES[0])
    assert done.returncode == 2
    assert "--data DIR" in done.stderr


def test_variant_that_fails_does_not_cost_the_others(store: Path, data: Path) -> None:
    asked = ("silero-vad:fp32", NAMES[1], "--data", data, "--sets", "one", "--json", "--store", store)
    done = wren("evaluate", *asked)
    assert done.returncode == 1
    assert "silero-vad:fp32" in done.stderr
    assert [row["variant"] for row in json.loads(done.stdout)] == [NAMES[1]]


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes as Linux shows them")
def test_interrupt_ends_the_process_that_computes(store: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "heard.jsonl"
    with _evaluating(NAMES[0], "--data", data, "--out", out, "--store", store) as process:
        computing = next(child for child in iter(lambda: _children(process.pid), None) if child)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode != 0
        assert (stdout, "Traceback" in stderr) == ("", False)
        deadline_s = time.monotonic() + TIMEOUT_S
        while any(_lives(child) for child in computing):  # it may have been about to begin
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        assert not list(tmp_path.iterdir())


@contextmanager
def _evaluating(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [*WREN, "evaluate", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=ROOT, env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
