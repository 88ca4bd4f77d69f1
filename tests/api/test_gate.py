"""Quotas over the routes that transcribe, whoever asks and however it ends."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketDenialResponse

from service.api.client import Caller
from service.api.gate import payer
from service.api.keys_file import Key, digest_of, write_keys
from service.api.quota import Limits
from service.engine.fake import FakeEngine
from service.engine.streaming import Final
from service.errors import RecognitionFailed
from tests.api.deepgram import HALF_A_SECOND, HELLO, listening, playing, say, until_closed
from tests.api.realtime import session
from tests.api.serving import wait_until
from tests.api.speech import FILE, FOX, app_of, client_of, segment

pytestmark = pytest.mark.anyio

OPENAI, DEEPGRAM = "/v1/audio/transcriptions", "/v1/listen"
PAUSED = Final(0.0, 40.0, (segment("All of it.", 0.0, 40.0),), "pause")


async def asked(client: httpx.AsyncClient, path: str = OPENAI, **fields: str) -> httpx.Response:
    if path == DEEPGRAM:
        return await client.post(path, content=b"any bytes")
    return await client.post(path, data={"model": "fake", **fields}, files=FILE)


def limited(answer: httpx.Response, message: str) -> Mapping[str, str]:
    """The headers of a refusal in either shape."""
    assert answer.status_code == 429
    body = answer.json()
    if "err_code" in body:
        assert (body["err_code"], message in body["err_msg"]) == ("TOO_MANY_REQUESTS", True)
    else:
        error = body["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert message in error["message"]
    assert int(answer.headers["retry-after-ms"]) == 1000 * int(answer.headers["retry-after"])
    return answer.headers


async def refusals(client: httpx.AsyncClient, reason: str) -> float:
    text = (await client.get("/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith(f'wren_rejected_total{{reason="{reason}"}}')]
    return float(line.split()[-1])


async def until_asked(engine: FakeEngine, times: int) -> None:
    async with asyncio.timeout(5):
        while len(engine.requests) < times:  # noqa: ASYNC110 - the engine has no event for it
            await asyncio.sleep(0)


@pytest.mark.parametrize("path", [OPENAI, DEEPGRAM])
async def test_requests_of_a_minute_are_counted_down_and_then_refused(path: str) -> None:
    engine = FakeEngine(FOX)
    async with client_of(app_of(engine, requests_per_minute=2)) as client:
        left = [(await asked(client, path)).headers["x-ratelimit-remaining-requests"] for _ in range(2)]
        headers = limited(await asked(client, path), "requests are limited to 2 a minute. Try again in 30 s")
        assert left == ["1", "0"]
        assert (headers["retry-after"], headers["x-ratelimit-remaining-requests"]) == ("30", "0")
        assert await refusals(client, "requests") == 1
        assert (await client.get("/v1/models")).status_code == 200
    assert len(engine.requests) == 2


@pytest.mark.parametrize("path", [OPENAI, DEEPGRAM])
async def test_seconds_of_audio_are_charged_with_the_answer(path: str) -> None:
    async with client_of(app_of(FakeEngine(FOX), audio_seconds_per_minute=10)) as client:
        first, second = await asked(client, path), await asked(client, path)
        assert (first.status_code, first.headers["x-ratelimit-remaining-audio-seconds"]) == (200, "1")
        assert (second.status_code, second.headers["x-ratelimit-remaining-audio-seconds"]) == (200, "0")
        limited(await asked(client, path), "audio is limited to 10 s a minute. Try again in 48 s")
        assert await refusals(client, "audio") == 1


async def test_a_stream_of_events_is_charged_with_its_segments() -> None:
    engine = FakeEngine(FOX, error=RecognitionFailed("no luck"), fail_after=1)
    async with client_of(app_of(engine, audio_seconds_per_minute=4)) as client:
        await asked(client, stream="true")
        limited(await asked(client), "audio is limited to 4 s")


async def test_a_place_is_free_again_however_a_request_ends() -> None:
    gate = asyncio.Event()
    engine = FakeEngine(FOX, gate=gate)
    async with client_of(app_of(engine, concurrency=1)) as client:
        running = asyncio.create_task(asked(client))
        await until_asked(engine, 1)
        limited(await asked(client), "requests and streams are limited to 1 at once")
        assert await refusals(client, "concurrency") == 1
        gate.set()
        assert (await running).status_code == 200
        for fields in ({"stream": "true"}, {"model": ""}, {"response_format": "odd"}, {}):
            assert (await asked(client, **fields)).status_code in (200, 400)
        gate.clear()
        left = asyncio.create_task(asked(client))
        await until_asked(engine, 4)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        gate.set()
        assert (await asked(client)).status_code == 200


def keyed(tmp_path: Path, **settings: object) -> FastAPI:
    file = tmp_path / "keys.toml"
    scopes = frozenset({"transcribe"})
    own = Key("own", digest_of("own-key"), scopes, Limits(requests_per_minute=2))
    write_keys(file, (own, Key("bare", digest_of("bare-key"), scopes)))
    return app_of(FakeEngine(FOX), keys_file=file, **settings)


async def test_a_key_has_its_own_limits_and_else_those_of_the_settings(tmp_path: Path) -> None:
    async with client_of(keyed(tmp_path, requests_per_minute=1)) as client:
        statuses = {}
        for key in ("own-key", "bare-key"):
            client.headers["authorization"] = f"Bearer {key}"
            statuses[key] = [(await asked(client)).status_code for _ in range(3)]
        assert statuses == {"own-key": [200, 200, 429], "bare-key": [200, 429, 429]}
        client.headers["authorization"] = "Bearer wrong"
        assert (await asked(client)).status_code == 401


@pytest.mark.parametrize(
    ("caller", "whose"),
    [
        (Caller("10.0.0.7"), "10.0.0.7"),
        (Caller("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64"),
        (Caller("::1", by_key=True), "::1"),
        (Caller("testclient"), "testclient"),
    ],
)
async def test_an_ipv6_network_is_one_client(caller: Caller, whose: str) -> None:
    assert payer(caller) == whose


async def test_a_realtime_session_too_many_is_told_and_closed() -> None:
    app = app_of(FakeEngine(), concurrency=1)
    with TestClient(app) as tester, tester.websocket_connect("/v1/realtime") as first:
        assert first.receive_json()["type"] == "session.created"
        with tester.websocket_connect("/v1/realtime") as second:
            error = second.receive_json()["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
            closed = second.receive()
            assert (closed["code"], closed["reason"]) == (1013, error["message"])
        first.close()

        def is_let_in() -> bool:
            with tester.websocket_connect("/v1/realtime") as third:
                return bool(third.receive_json()["type"] == "session.created")

        wait_until(is_let_in)


async def test_a_deepgram_stream_too_many_is_refused_in_the_handshake() -> None:
    app = app_of(FakeEngine(), requests_per_minute=1)
    with TestClient(app) as tester:
        with tester.websocket_connect(DEEPGRAM) as stream:
            stream.send_json({"type": "CloseStream"})
        with pytest.raises(WebSocketDenialResponse) as denied, tester.websocket_connect(DEEPGRAM):
            pass
    assert limited(denied.value, "requests are limited to 1 a minute")["dg-error"].startswith("Rate limit reached")


async def test_a_realtime_session_ends_when_its_seconds_are_used_up() -> None:
    with session(playing((PAUSED,)), audio_seconds_per_minute=30) as (client, _):
        client.append()
        told = client.hear_until("conversation.item.input_audio_transcription.completed")
        assert told[-1]["transcript"] == "All of it."
        assert client.error()["code"] == "rate_limit_exceeded"
        code, reason = client.closed()
    assert (code, reason) == (1013, "Rate limit reached: audio is limited to 30 s a minute. Try again in 22 s.")


async def test_a_deepgram_stream_ends_when_its_seconds_are_used_up() -> None:
    with listening(playing((PAUSED,)), audio_seconds_per_minute=30) as stream:
        stream.send_bytes(HALF_A_SECOND)
        told, code, reason = until_closed(stream)
    assert [one["type"] for one in told] == ["Results"]
    assert (code, reason) == (1013, "Rate limit reached: audio is limited to 30 s a minute. Try again in 22 s.")


async def test_the_tail_of_a_stream_is_told_whatever_it_costs() -> None:
    with listening(playing(finish=(HELLO,)), audio_seconds_per_minute=1) as stream:
        stream.send_bytes(4 * HALF_A_SECOND)
        say(stream, "CloseStream")
        told, code, _ = until_closed(stream)
    assert [one["type"] for one in told] == ["Results", "Metadata"]
    assert code == 1000
