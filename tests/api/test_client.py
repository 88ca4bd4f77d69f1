import pytest

from service.api.keyring import listed_key
from service.engine.fake import FakeEngine
from tests.api.speech import FILE, FOX, app_of, client_of


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("keys", "name"),
    [((), "127.0.0.1"), (("right", "other"), listed_key("right").name)],
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
