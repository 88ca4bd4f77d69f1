from pathlib import Path

import httpx
import pytest

from service.api.health import readiness
from service.api.keys_file import Key, Scope, digest_of, write_keys
from service.engine.fake import FakeEngine, model_info
from service.engine.types import Load, ModelInfo
from tests.api.speech import FOX, app_of, client_of

WARM = ("fake:fp32",)


class DisklessEngine(FakeEngine):
    """Its store must not be read."""

    def models(self) -> tuple[ModelInfo, ...]:
        raise AssertionError("the store was read")


@pytest.mark.anyio
async def test_ready_names_what_is_loaded_and_how_busy_it_is() -> None:
    busy = Load(waiting_s=12.3456, limit_s=600, windows=3, rows=8, speed=21.5, executors=2, stalled_s=0.01, loaded=WARM)
    async with client_of(app_of(DisklessEngine(FOX, busy=busy))) as client:
        answer = await client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "loaded": ["fake:fp32"],
        "waiting_s": 12.346,
        "limit_s": 600.0,
        "stalled_s": 0.01,
        "realtime_factor": 21.5,
        "rows": 8,
        "windows": 3,
        "executors": 2,
    }


@pytest.mark.anyio
async def test_nothing_loaded_is_not_ready_but_alive() -> None:
    engine = DisklessEngine(FOX, infos=(model_info("fake", "fp32"),), busy=Load())
    async with client_of(app_of(engine)) as client:
        ready, live = await client.get("/health/ready"), await client.get("/health/live")
    assert (ready.status_code, ready.json()["status"]) == (503, "loading")
    assert ready.json()["reason"]
    assert (live.status_code, live.json()) == (200, {"status": "ok"})


@pytest.mark.anyio
async def test_a_server_whose_models_have_left_memory_is_ready_to_load_them_again() -> None:
    engine = DisklessEngine(FOX, busy=Load(limit_s=100, executors=1))
    async with client_of(app_of(engine)) as client:
        assert (await client.get("/health/ready")).json()["status"] == "ok"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("busy", "status"),
    [
        (Load(waiting_s=600, limit_s=600, loaded=WARM), "overloaded"),
        (Load(waiting_s=1, limit_s=600, stalled_s=11, loaded=WARM), "stalled"),
        (Load(limit_s=600, executors=1, failing="fake:fp32 cannot be loaded."), "failed"),
    ],
)
async def test_busy_engine_is_not_ready_and_says_why(busy: Load, status: str) -> None:
    async with client_of(app_of(DisklessEngine(FOX, busy=busy))) as client:
        answer = await client.get("/health/ready")
        assert (await client.get("/health/live")).status_code == 200
    assert (answer.status_code, answer.json()["status"]) == (503, status)
    assert answer.json()["reason"]


@pytest.mark.parametrize(("waiting_s", "status"), [(0, "ok"), (89.9, "ok"), (90, "overloaded"), (150, "overloaded")])
def test_queue_counts_as_full_from_nine_tenths_on(waiting_s: float, status: str) -> None:
    assert readiness(Load(waiting_s=waiting_s, limit_s=100, loaded=WARM), stuck_s=60).status == status


@pytest.mark.parametrize(
    ("stalled_s", "stuck_s", "status"),
    [(9.9, 60, "ok"), (10, 60, "stalled"), (1.9, 4, "ok"), (2, 4, "stalled"), (10, 3600, "stalled")],
)
def test_stall_shows_before_the_executor_is_replaced(stalled_s: float, stuck_s: float, status: str) -> None:
    assert readiness(Load(stalled_s=stalled_s, limit_s=100, loaded=WARM), stuck_s=stuck_s).status == status


@pytest.mark.anyio
async def test_startup_waits_for_the_first_model_and_is_over_for_good() -> None:
    engine = DisklessEngine(FOX, busy=Load())
    async with client_of(app_of(engine)) as client:
        before = await client.get("/health/startup")
        engine.busy = Load(waiting_s=600, limit_s=600, executors=1, loaded=WARM)
        after = await client.get("/health/startup")
        engine.busy = Load()
        later, ready = await client.get("/health/startup"), await client.get("/health/ready")
    assert (before.status_code, before.json()["status"]) == (503, "loading")
    assert before.json()["reason"]
    assert (after.status_code, after.json()) == (200, {"status": "ok"})
    assert (later.status_code, ready.status_code) == (200, 503)


@pytest.mark.anyio
async def test_operation_needs_no_key() -> None:
    async with client_of(app_of(FakeEngine(FOX), api_keys=("k",))) as client:
        for path in ("/", "/health/live", "/health/ready", "/health/startup", "/metrics", "/openapi.json"):
            assert (await client.get(path)).status_code == 200


@pytest.mark.anyio
async def test_metrics_may_need_an_operators_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    scopes: dict[str, Scope] = {"phone": "transcribe", "ops": "admin"}
    write_keys(file, [Key(name, digest_of(name), frozenset({scope})) for name, scope in scopes.items()])
    async with client_of(app_of(FakeEngine(FOX), keys_file=file, metrics_key=True)) as client:
        found = {"": await client.get("/metrics")}
        for name in ("phone", "ops"):
            found[name] = await client.get("/metrics", headers={"authorization": f"Bearer {name}"})
        described = (await client.get("/openapi.json")).json()["paths"]["/metrics"]["get"]
        assert (await client.get("/health/live")).status_code == 200
    assert {name: answer.status_code for name, answer in found.items()} == {"": 401, "phone": 403, "ops": 200}
    assert found[""].json()["error"]["code"] == "invalid_api_key"
    assert set(described["responses"]) == {"200", "401", "403"}
    assert described["security"]


@pytest.mark.anyio
@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", 200), ("10.0.0.7", 403)])
async def test_without_keys_metrics_are_kept_to_the_machine_itself(address: str, status: int) -> None:
    transport = httpx.ASGITransport(app_of(FakeEngine(FOX), metrics_key=True), client=(address, 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://wren") as client:
        assert (await client.get("/metrics")).status_code == status


@pytest.mark.anyio
async def test_index_shows_the_first_request_to_try() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        page = (await client.get("/")).text
    assert "http://wren/v1/audio/transcriptions" in page
    assert 'href="docs"' in page
