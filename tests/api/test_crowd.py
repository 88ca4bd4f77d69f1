import asyncio

import httpx
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Receive, Scope, Send

from service.api.crowd import Crowd
from service.engine.fake import FakeEngine
from tests.api.speech import FILE, FOX, app_of, client_of

pytestmark = pytest.mark.anyio

OPENAI, DEEPGRAM = "/v1/audio/transcriptions", "/v1/listen"


async def sent(client: httpx.AsyncClient, path: str = OPENAI) -> httpx.Response:
    if path == DEEPGRAM:
        return await client.post(path, content=b"any bytes")
    return await client.post(path, data={"model": "fake"}, files=FILE)


async def test_who_is_one_too_many_is_told_in_the_words_of_its_protocol_and_probes_are_answered() -> None:
    gate = asyncio.Event()
    engine = FakeEngine(FOX, gate=gate)
    async with client_of(app_of(engine, max_connections=2)) as client:
        running = [asyncio.create_task(sent(client, path)) for path in (OPENAI, DEEPGRAM)]
        async with asyncio.timeout(5):
            while len(engine.requests) < 2:  # noqa: ASYNC110 - the engine has no event for it
                await asyncio.sleep(0)
        openai, deepgram, models = await sent(client), await sent(client, DEEPGRAM), await client.get("/v1/models")
        for answer in (openai, deepgram, models):
            assert answer.status_code == 503
            assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
            assert answer.headers["x-request-id"]
        assert openai.json()["error"]["code"] == "too_many_connections"
        assert "WREN_MAX_CONNECTIONS" in openai.json()["error"]["message"]
        assert deepgram.json()["err_code"] == "SERVICE_UNAVAILABLE"
        assert (await client.get("/health/live")).status_code == 200
        assert 'wren_rejected_total{reason="connections"} 3.0' in (await client.get("/metrics")).text
        gate.set()
        assert [(await one).status_code for one in running] == [200, 200]
        assert (await sent(client)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/realtime", DEEPGRAM])
async def test_a_websocket_too_many_is_refused_in_its_handshake(path: str) -> None:
    with TestClient(app_of(FakeEngine(), max_connections=1)) as client, client.websocket_connect("/v1/realtime"):
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(path):
            pass
        assert (denied.value.status_code, denied.value.headers["retry-after"]) == (503, "1")
        assert client.get("/health/live").status_code == 200


async def test_a_place_is_free_again_after_a_fault() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    crowd = Crowd(broken, most=1, on_refused=lambda: pytest.fail("refused"))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await crowd({"type": "http", "path": "/"}, None, None)  # type: ignore[arg-type]  # neither is used
