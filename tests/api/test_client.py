import pytest

from service.api.client import client_name
from service.engine.fake import FakeEngine
from tests.api.speech import FILE, FOX, app_of, client_of


def test_a_key_has_one_name_wherever_it_comes_from_and_is_not_in_it() -> None:
    name = client_name(key="hush-hush", host="192.0.2.1")
    assert name == client_name(key="hush-hush", host="192.0.2.2")
    assert name != client_name(key="hush", host="192.0.2.1")
    assert "hush" not in name


def test_without_keys_the_address_is_the_name() -> None:
    assert client_name(key=None, host="192.0.2.1") == "192.0.2.1"
    assert client_name(key=None, host=None) == ""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("keys", "name"),
    [((), "127.0.0.1"), (("right", "other"), client_name(key="right", host=None))],
)
async def test_the_engine_learns_who_asks(keys: tuple[str, ...], name: str) -> None:
    engine = FakeEngine(FOX)
    async with client_of(app_of(engine, api_keys=keys)) as client:
        client.headers["authorization"] = "Bearer right"
        await client.post("/v1/audio/transcriptions", data={"model": "fake"}, files=FILE)
    assert engine.requests[0].client == name


@pytest.mark.anyio
async def test_the_engine_learns_what_is_urgent() -> None:
    engine = FakeEngine(FOX)
    fields = {"model": "fake", "priority": "batch", "deadline_s": "30"}
    async with client_of(app_of(engine)) as client:
        await client.post("/v1/audio/transcriptions", data=fields, files=FILE)
    assert (engine.requests[0].priority, engine.requests[0].deadline_s) == ("batch", 30.0)
