import httpx
import pytest
from fastapi import FastAPI

from service.engine.fake import FakeEngine, model_info
from tests.api.speech import FOX, app_of, client_of, post

pytestmark = pytest.mark.anyio

INFOS = (
    model_info("fake", "fp32", default=True),
    model_info("fake", "int8"),
    model_info("other", "fp32", default=True),
    model_info("other", "int8"),
)
PRECISION = "/v1/precision"


def fake(*broken: str) -> FakeEngine:
    return FakeEngine(FOX, infos=INFOS, broken=broken)


async def sent(engine: FakeEngine, *bodies: str) -> httpx.Response:
    """The answer to the last of the orders."""
    async with client_of(app_of(engine)) as client:
        for body in bodies:
            answer = await client.put(PRECISION, content=body)
    return answer


async def test_a_pin_serves_when_the_answer_comes() -> None:
    engine = fake()
    body = (await sent(engine, '{"pin": "int8"}')).json()
    first = body["models"][0]
    assert (first["model"], first["serving"], first["pin"]) == ("fake", "fake:int8", "int8")
    assert (await post(engine, {"model": "auto"})).headers["x-wren-variant"] == "fake:int8"


async def test_null_takes_an_order_back_and_what_is_left_out_stays() -> None:
    bodies = ('{"highest": "fp32", "lowest": "int8"}', '{"pin": "fake:int8"}', '{"pin": null, "lowest": null}')
    first = (await sent(fake(), *bodies[:2])).json()["models"][0]
    assert (first["pin"], first["highest"], first["lowest"]) == ("fake:int8", "fp32", "int8")
    last = (await sent(fake(), *bodies)).json()["models"][0]
    assert (last["pin"], last["highest"], last["lowest"], last["serving"]) == (None, "fp32", None, "fake:fp32")


async def test_an_order_is_for_the_model_it_names() -> None:
    body = (await sent(fake(), '{"model": "other", "pin": "int8"}', '{"model": "other", "lowest": "int8"}')).json()
    first, other = body["models"]
    assert (first["serving"], first["pin"]) == ("fake:fp32", None)
    assert (other["serving"], other["pin"], other["lowest"]) == ("other:int8", "int8", "int8")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ('{"pinned": "int8"}', "pinned"),
        ('{"pin": 8}', "pin"),
        ('{"pin": ""}', "pin"),
        ('{"model": null}', "model"),
        ('{"pin": "fp7"}', "pin"),
        ('{"lowest": "fp7"}', "lowest"),
        ('{"pin": ', None),
        ("[]", None),
        ('"int8"', None),
    ],
)
async def test_wrong_orders_are_400_and_name_the_field(body: str, param: str | None) -> None:
    answer = await sent(fake(), body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_orders_that_go_on_for_ever_are_cut_short() -> None:
    assert (await sent(fake(), '{"pin": "' + 2**16 * "x" + '"}')).status_code == 413


async def test_an_unknown_model_takes_no_orders() -> None:
    answer = await sent(fake(), '{"model": "nope", "pin": "int8"}')
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_pin_that_cannot_be_loaded_is_503_and_changes_nothing() -> None:
    engine = fake("fake:int8")
    failed = await sent(engine, '{"highest": "fp32"}', '{"pin": "int8"}')
    assert (failed.status_code, failed.json()["error"]["code"]) == (503, "model_unavailable")
    async with client_of(app_of(engine)) as client:
        body = (await client.get(PRECISION)).json()
        model = (await client.get("/v1/models/fake:int8")).json()
    first = body["models"][0]
    assert (first["serving"], first["pin"], first["highest"]) == ("fake:fp32", None, "fp32")
    assert (body["events"][0]["kind"], body["events"][0]["variant"]) == ("failed", "fake:int8")
    assert (model["state"], "broken" in model["failure"]) == ("failed", True)


@pytest.mark.parametrize(
    ("asked", "serves"),
    [
        ("fake:int8", "fake:int8"),
        ("fake%3Aint8", "fake:int8"),
        ("other:int8", "other:int8"),
        ("other", "other:fp32"),
        ("whisper-1", "fake:fp32"),
        ("auto", "fake:fp32"),
    ],
)
async def test_a_variant_is_loaded_by_any_of_its_names(asked: str, serves: str) -> None:
    async with client_of(app_of(fake())) as client:
        answer = await client.post(f"/v1/models/{asked}/load")
    assert answer.status_code == 200
    assert (answer.json()["serves"], answer.json()["state"]) == (serves, "loaded")


async def test_of_a_model_all_variants_are_unloaded() -> None:
    async with client_of(app_of(fake())) as client:
        await client.post("/v1/models/fake:int8/load")
        answer = await client.post("/v1/models/whisper-1/unload")
        again = await client.post("/v1/models/fake:int8/unload")
        events = (await client.get(PRECISION)).json()["events"]
    gone = [(model["id"], model["state"]) for model in answer.json()["data"]]
    assert gone == [("fake:fp32", "available"), ("fake:int8", "available")]
    assert again.json() == {"object": "list", "data": []}
    assert [event["kind"] for event in events] == ["unloaded", "unloaded", "loaded"]


@pytest.mark.parametrize("what", ["load", "unload"])
async def test_what_is_not_there_is_neither_loaded_nor_unloaded(what: str) -> None:
    async with client_of(app_of(fake())) as client:
        answer = await client.post(f"/v1/models/fake:int4/{what}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_variant_that_cannot_be_loaded_is_503() -> None:
    async with client_of(app_of(fake("fake:int8"))) as client:
        answer = await client.post("/v1/models/fake:int8/load")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
    assert "it is broken" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "body"), [("?keep_alive=5m", ""), ("", '{"keep_alive": 300}'), ("", '{"keep_alive": "5m"}')]
)
async def test_a_load_says_how_long_it_lasts(query: str, body: str) -> None:
    engine = fake()
    async with client_of(app_of(engine)) as client:
        answer = await client.post(f"/v1/models/fake:int8/load{query}", content=body)
    assert answer.status_code == 200
    assert engine.kept_s == {"fake:int8": 300}


@pytest.mark.parametrize(
    ("query", "body", "param"),
    [("?keep_alive=long", "", "keep_alive"), ("", '{"keep_alive": true}', "keep_alive"), ("", '{"for": 5}', "for")],
)
async def test_a_load_that_lasts_for_no_time_known_is_400(query: str, body: str, param: str) -> None:
    async with client_of(app_of(fake())) as client:
        answer = await client.post(f"/v1/models/fake:int8/load{query}", content=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


ORDERS = (("PUT", PRECISION), ("POST", "/v1/models/fake/load"), ("POST", "/v1/models/fake/unload"))


def from_elsewhere(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, client=("10.0.0.1", 5000)), base_url="http://wren")


@pytest.mark.parametrize(("method", "path"), ORDERS)
async def test_without_keys_orders_come_from_the_machine_itself(method: str, path: str) -> None:
    app = app_of(fake())
    async with client_of(app) as here, from_elsewhere(app) as elsewhere:
        assert (await here.request(method, path)).status_code == 200
        refused = await elsewhere.request(method, path)
        assert (await elsewhere.get(PRECISION)).status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "local_only")
    assert "WREN_API_KEYS" in refused.json()["error"]["message"]


@pytest.mark.parametrize(("method", "path"), [*ORDERS, ("GET", PRECISION)])
async def test_with_keys_whoever_has_one_gives_orders(method: str, path: str) -> None:
    app = app_of(fake(), api_keys=("k",))
    async with client_of(app) as here, from_elsewhere(app) as elsewhere:
        assert (await here.request(method, path)).status_code == 401
        assert (await elsewhere.request(method, path, headers={"authorization": "Bearer k"})).status_code == 200


async def test_bodies_are_documented() -> None:
    async with client_of(app_of(fake())) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    schema = paths[PRECISION]["put"]["requestBody"]["content"]["application/json"]["schema"]
    assert list(schema["properties"]) == ["model", "pin", "highest", "lowest"]
