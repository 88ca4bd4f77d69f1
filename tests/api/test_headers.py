import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from service.api.headers import SAFE
from service.engine.fake import FakeEngine
from tests.api.speech import FILE, FOX, app_of, client_of


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/health/live", "/v1/models", "/nowhere", "/docs"])
async def test_every_answer_has_the_safe_headers(path: str) -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        answer = await client.get(path)
    assert {name: answer.headers.get(name) for name in SAFE} == SAFE


@pytest.mark.anyio
async def test_transcripts_are_not_kept_by_caches() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        whole = await client.post("/v1/audio/transcriptions", data={"model": "fake"}, files=FILE)
        streamed = await client.post("/v1/audio/transcriptions", data={"model": "fake", "stream": "true"}, files=FILE)
    assert whole.headers["cache-control"] == "no-store"
    assert streamed.headers.get_list("cache-control") == [streamed.headers["cache-control"]]


@pytest.mark.anyio
async def test_the_page_of_routes_loads_nothing_from_elsewhere() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        page = await client.get("/docs", follow_redirects=True)
    assert page.status_code == 200
    assert "openapi" in page.json()


def test_a_refused_handshake_has_them_too() -> None:
    refused = TestClient(app_of(FakeEngine(), api_keys=("K",))).websocket_connect("/v1/listen")
    with pytest.raises(WebSocketDenialResponse) as denied, refused:
        pass
    assert denied.value.headers["x-content-type-options"] == "nosniff"
