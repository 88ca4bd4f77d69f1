"""An operator's orders to `wren serve` with real models, over HTTP and on the command line."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.running import wren
from tests.engine.stores import cut, linked_store
from tests.live import LiveServer, recording, wren_serve

TINY = "whisper-tiny.en"
FOX = recording("en/quick_brown_fox").read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Its own, for what it is ordered would surprise other tests; as it is started, it serves one variant."""
    with wren_serve(tmp_path_factory.mktemp("orders") / "log", {"WREN_MODEL": f"{TINY}:fp32"}) as server:
        yield server


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def heard_by(client: httpx.Client, **fields: str) -> str:
    """The variant that transcribed the fox."""
    answer = client.post("/v1/audio/transcriptions", data={"model": "whisper-1", **fields}, files={"file": FOX})
    assert answer.status_code == 200, answer.text
    assert "fox" in answer.text
    return answer.headers["x-wren-variant"]


def test_a_pin_takes_hold_at_once_and_a_client_s_order_beats_it(client: httpx.Client) -> None:
    assert heard_by(client) == f"{TINY}:fp32"
    pinned = client.put("/v1/precision", json={"pin": f"{TINY}:int8"}).json()
    assert (pinned["models"][0]["serving"], pinned["events"][0]["kind"]) == (f"{TINY}:int8", "switched")
    assert heard_by(client) == heard_by(client, stream="true") == heard_by(client, precision="fp32") == f"{TINY}:int8"
    assert heard_by(client, model=f"{TINY}:fp32") == heard_by(client, variant="fp32") == f"{TINY}:fp32"
    assert client.get("/v1/models/whisper-1").json()["serves"] == f"{TINY}:int8"
    client.put("/v1/precision", json={"pin": None})
    assert heard_by(client) == heard_by(client, precision="fp32", stream="true") == f"{TINY}:fp32"


def test_a_pin_that_means_nothing_changes_nothing(client: httpx.Client) -> None:
    answer = client.put("/v1/precision", json={"pin": "int3"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "pin")
    assert client.get("/v1/precision").json()["models"][0]["pin"] is None


def test_what_is_loaded_is_shown_and_what_is_unloaded_is_gone(server: LiveServer, client: httpx.Client) -> None:
    where = ("--url", server.url, "--key", server.key)
    loaded = wren("models", "load", f"{TINY}:int8", *where)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.startswith(f"{TINY}:int8 is loaded: ")
    shown = client.get(f"/v1/models/{TINY}:int8").json()
    assert (shown["state"], shown["leases"], shown["failure"]) == ("loaded", 0, None)
    assert shown["memory_bytes"] > 1e6
    assert shown["load_ms"] > 10
    assert f'wren_variant_bytes{{variant="{TINY}:int8"}}' in client.get("/metrics").text
    unloaded = wren("models", "unload", f"{TINY}:int8", *where)
    assert (unloaded.returncode, unloaded.stdout) == (0, f"Unloaded {TINY}:int8\n"), unloaded.stderr
    assert client.get(f"/v1/models/{TINY}:int8").json()["state"] == "available"
    assert f"loaded    {TINY}:int8" in wren("precision", *where).stdout


def test_with_keep_alive_0_a_variant_leaves_when_it_has_answered(client: httpx.Client) -> None:
    assert heard_by(client, variant="int8", keep_alive="0") == f"{TINY}:int8"
    client.post(f"/v1/models/{TINY}:int8/unload")  # waits for what is on its way out already
    event = client.get("/v1/precision").json()["events"][0]
    assert (event["kind"], event["variant"], event["reason"]) == (
        "unloaded",
        f"{TINY}:int8",
        "nobody has used it for 0 s",
    )


def test_orders_need_the_key_also_from_this_machine(server: LiveServer) -> None:
    done = wren("models", "pin", "int8", "--url", server.url)
    assert (done.returncode, "An API key is needed" in done.stderr) == (1, True)


def readiness(client: httpx.Client) -> tuple[int, str, list[str]]:
    answer = client.get("/health/ready")
    return answer.status_code, answer.json()["status"], answer.json()["loaded"]


def test_readiness_after_the_only_model_left_memory(tmp_path: Path) -> None:
    store = linked_store(tmp_path / "store", "silero-vad/fp32", f"{TINY}/fp32")
    settings = {"WREN_MODEL": f"{TINY}:fp32", "WREN_STORE": str(store)}
    with wren_serve(tmp_path / "log", settings) as server, server.client() as client:
        assert client.post(f"/v1/models/{TINY}:fp32/unload").status_code == 200
        assert readiness(client) == (200, "ok", []), "the next request has it loaded"
        assert heard_by(client) == f"{TINY}:fp32"
        assert readiness(client) == (200, "ok", [f"{TINY}:fp32"])
        client.post(f"/v1/models/{TINY}:fp32/unload")
        decoder = store / TINY / "fp32" / "decoder.onnx"
        whole = decoder.readlink()
        cut(decoder)
        answer = client.post("/v1/audio/transcriptions", data={"model": "auto"}, files={"file": FOX})
        assert answer.status_code == 503
        status, told, loaded = readiness(client)
        assert (status, told, loaded) == (503, "failed", [])
        decoder.unlink()
        decoder.symlink_to(whole)
        deadline_s = time.monotonic() + 20  # who has just failed is not tried again for some seconds
        while client.post(f"/v1/models/{TINY}:fp32/load").status_code != 200:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert readiness(client) == (200, "ok", [f"{TINY}:fp32"])
