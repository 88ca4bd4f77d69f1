import pytest

from service.engine.fake import FakeEngine, model_info
from tests.api.speech import FOX, app_of, client_of

pytestmark = pytest.mark.anyio


async def test_ready_names_what_is_loaded() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "loaded": ["fake:fp32"]})


async def test_nothing_loaded_is_not_ready_but_alive() -> None:
    engine = FakeEngine(FOX, infos=(model_info("fake", "fp32"),))
    async with client_of(app_of(engine)) as client:
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/health/live")).status_code == 200


async def test_operation_needs_no_key() -> None:
    async with client_of(app_of(FakeEngine(FOX), api_keys=("k",))) as client:
        for path in ("/", "/health/live", "/health/ready", "/metrics", "/docs"):
            assert (await client.get(path)).status_code == 200


async def test_index_shows_the_first_request_to_try() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        page = (await client.get("/")).text
    assert "http://wren/v1/audio/transcriptions" in page
    assert 'href="docs"' in page
