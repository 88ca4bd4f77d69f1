"""`wren plan`, and `wren serve` within the same limits, over a store whose one variant was profiled for one core."""

import json
from pathlib import Path

import pytest

from tests.cli.running import wren
from tests.engine.stores import linked_store
from tests.live import recording, wren_serve

TINY = "whisper-tiny.en"
ANY_LOSS = ("--max-wer-loss", "inf")
"""The store has no base variant to lose anything against."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = linked_store(tmp_path_factory.mktemp("store"), f"{TINY}/int8", "silero-vad/fp32")
    done = wren("plan", "--store", store, "--cores", "1", *ANY_LOSS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"measuring {TINY}:int8 (1 of 1)\n"
    return store


def test_plan_is_a_table_with_its_reasons(store: Path) -> None:
    done = wren("plan", "--store", store, "--cores", "1", *ANY_LOSS, "--latency", "1min", "--prefer", "speed")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"1  {TINY}:int8" in done.stdout
    assert "the only one left; " in done.stdout
    assert "60000 ms for 6 s of speech" in done.stdout


def test_plan_for_machines_has_figures(store: Path) -> None:
    done = wren("plan", "--store", store, "--cores", "1", *ANY_LOSS, "--json")
    (chosen,) = json.loads(done.stdout)["chosen"]
    assert chosen["id"] == f"{TINY}:int8"
    assert 50e6 < chosen["memory_bytes"] < 1e9
    assert 5 < chosen["latency_ms"] < 10_000
    assert chosen["speed"] > 1


def test_without_the_base_variant_the_loss_is_unknown(store: Path) -> None:
    done = wren("plan", "--store", store, "--cores", "1")
    assert done.returncode == 1
    assert "wren evaluate" in done.stdout
    assert done.stderr == "wren: Nothing fits. No other budget is known to help.\n"


def test_nothing_fits_ends_with_the_nearest_budget(store: Path) -> None:
    done = wren("plan", "--store", store, "--cores", "1", *ANY_LOSS, "--memory", "10MB")
    assert done.returncode == 1
    assert "there are 10 MB (asked for)" in done.stdout
    assert done.stderr.startswith("wren: Nothing fits. What would do: ")
    assert done.stderr.endswith(f" MB of memory for {TINY}:int8.\n")


def test_nothing_is_measured_if_it_is_not_wanted(store: Path) -> None:
    done = wren("plan", "--store", store, "--cores", "64", *ANY_LOSS, "--no-measure")
    assert done.returncode == 1
    assert "not profiled on this machine with 64 cores" in done.stdout


def test_more_cores_than_there_are_cannot_be_measured(store: Path) -> None:
    done = wren("plan", "--store", store, "--cores", "1000")
    assert done.returncode == 1
    assert done.stderr.endswith("Plan with what is known: --no-measure.\n")


@pytest.mark.parametrize(("option", "value"), [("--memory", "much"), ("--latency", "soon")])
def test_a_limit_that_is_none_is_a_usage_error(option: str, value: str) -> None:
    done = wren("plan", option, value)
    assert done.returncode == 2
    assert f"'{value}' is no" in done.stderr


def test_a_model_that_is_not_here_is_told_with_how_to_get_it(store: Path) -> None:
    done = wren("plan", "--store", store, "--model", "whisper-base")
    assert done.returncode == 1
    assert done.stderr.endswith(f"Get it: wren models pull whisper-base --store {store}\n")


def test_a_server_refuses_to_start_beyond_a_limit_that_was_set(store: Path) -> None:
    limits = {"WREN_THREADS": "1", "WREN_MEMORY": "10MB", "WREN_MAX_WER_LOSS": "inf"}
    done = wren("serve", "--store", store, "--port", "0", env=limits)
    assert done.returncode == 1
    assert f"wren: Nothing of '{TINY}' fits the budget. What would do: " in done.stderr


def test_a_server_says_why_it_serves_what_it_does(store: Path, tmp_path: Path) -> None:
    settings = {"WREN_STORE": str(store), "WREN_THREADS": "1", "WREN_MAX_WER_LOSS": "inf", "WREN_MEMORY": "2GB"}
    fox = recording("en/quick_brown_fox").read_bytes()
    with wren_serve(tmp_path / "log", settings) as server, server.client() as client:
        answer = client.post("/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": fox})
        plan = client.get("/v1/plan").json()
        nothing = client.get("/v1/plan", params={"memory": "10MB"}).json()
    assert answer.headers["x-wren-variant"] == f"{TINY}:int8"
    assert answer.headers["x-wren-variant-reason"] == plan["chosen"][0]["reason"]
    assert plan["budget"]["memory_bytes"] == {"amount": 2e9, "reason": "WREN_MEMORY"}
    assert nothing["nearest"][0]["memory_bytes"] > 10e6
