import pytest

from service.engine.fake import FakeEngine, model_info
from tests.api.speech import FOX, app_of, client_of
from tests.engine.plans import BASE, candidate

pytestmark = pytest.mark.anyio

CANDIDATES = (BASE, candidate("tiny:int8", latency_ms=60, mb=150, loss=0.4), candidate("moon:fp32", mb=900))


async def planned(status: int = 200, **asked: str) -> dict[str, object]:
    async with client_of(app_of(engine(), model="tiny")) as client:
        answer = await client.get("/v1/plan", params=asked)
    assert answer.status_code == status
    body: dict[str, object] = answer.json()
    return body


def engine() -> FakeEngine:
    return FakeEngine(
        FOX, infos=[model_info("tiny", "fp32", default=True), model_info("moon", "fp32")], candidates=CANDIDATES
    )


def ids(body: dict[str, object], key: str) -> list[str]:
    found = body[key]
    assert isinstance(found, list)
    return [one["id"] for one in found]


async def test_plan_is_of_the_default_model_and_has_every_variant_once() -> None:
    body = await planned()
    assert body["model"] == "tiny"
    assert (ids(body, "chosen"), body["excluded"], body["nearest"]) == (["tiny:int8", "tiny:fp32"], [], [])


async def test_plan_tells_figures_and_reasons() -> None:
    body = await planned(memory="160MB")
    chosen, excluded = body["chosen"], body["excluded"]
    assert isinstance(chosen, list)
    assert isinstance(excluded, list)
    assert chosen[0] | {"reason": ""} == {
        "id": "tiny:int8",
        "precision": "fp32",
        "runtime": "onnxruntime",
        "disk_bytes": 150_000_000,
        "wer": 5.0,
        "wer_loss": 0.4,
        "data": "libri",
        "memory_bytes": 155_000_000,
        "gpu_memory_bytes": 0,
        "latency_ms": 60.0,
        "speed": pytest.approx(100 + 20 / 7),
        "load_ms": 300.0,
        "reason": "",
        "rows": 2,
        "executors": 1,
    }
    assert "room for 1 x 2 of 2 x 4" in chosen[0]["reason"]
    assert excluded[0]["reasons"] == ["needs 200 MB, there are 160 MB (asked for)"]


async def test_budget_tells_each_limit_with_its_origin() -> None:
    body = await planned(memory="1g", gpu_memory="8GB", latency="0.2s", cores="1", max_wer_loss="inf", prefer="speed")
    assert body["budget"] == {
        "memory_bytes": {"amount": 2**30, "reason": "asked for"},
        "cores": {"amount": 1, "reason": "asked for"},
        "gpu_memory_bytes": {"amount": 8e9, "reason": "asked for"},
        "latency_ms": {"amount": 200, "reason": "asked for"},
        "max_wer_loss": {"amount": None, "reason": "asked for"},
        "prefer": "speed",
    }


async def test_auto_compares_all_models() -> None:
    assert set(ids(await planned(model="auto"), "chosen")) == {"tiny:fp32", "tiny:int8", "moon:fp32"}
    assert ids(await planned(model="moon"), "chosen") == ["moon:fp32"]


async def test_nearest_budgets_are_told_where_nothing_fits() -> None:
    body = await planned(memory="100MB")
    assert body["chosen"] == []
    assert body["nearest"] == [
        {
            "id": "tiny:int8",
            "memory_bytes": 150_000_000,
            "gpu_memory_bytes": None,
            "latency_ms": None,
            "max_wer_loss": None,
        }
    ]


@pytest.mark.parametrize(("name", "value"), [("memory", "much"), ("gpu_memory", "8"), ("latency", "soon")])
async def test_a_limit_that_is_none_names_the_parameter(name: str, value: str) -> None:
    body = await planned(400, **{name: value})
    error = body["error"]
    assert isinstance(error, dict)
    assert error["param"] == name
    assert value in error["message"]


@pytest.mark.parametrize(
    ("name", "value"), [("cores", "0"), ("cores", "1" + 400 * "0"), ("prefer", "cheap"), ("max_wer_loss", "-1")]
)
async def test_a_value_out_of_range_is_refused(name: str, value: str) -> None:
    await planned(400, **{name: value})


async def test_a_model_that_is_not_here_is_not_found() -> None:
    await planned(404, model="nope")
