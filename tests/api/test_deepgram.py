import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256

import httpx
import pytest

from service.api.deepgram_errors import CODES
from service.audio.types import RawFormat, VadOptions
from service.engine.fake import FakeEngine, model_info
from service.engine.types import Request, Served
from service.errors import (
    AudioTooLong,
    DeadlineExceeded,
    ModelUnavailable,
    Overloaded,
    RecognitionFailed,
    UndecodableAudio,
    WrenError,
)
from tests.api.serving import served
from tests.api.speech import FOX, app_of, client_of

pytestmark = pytest.mark.anyio

AUDIO = b"any bytes"


async def listen(
    engine: FakeEngine,
    query: str = "",
    *,
    content: bytes | AsyncIterator[bytes] = AUDIO,
    headers: Mapping[str, str] | None = None,
    **settings: object,
) -> httpx.Response:
    async with client_of(app_of(engine, **settings)) as client:
        return await client.post(f"/v1/listen?{query}", content=content, headers=headers)


async def pieces() -> AsyncIterator[bytes]:
    for piece in (b"any ", b"", b"bytes"):
        yield piece


def assert_refused(answer: httpx.Response, status: int, message: str = "") -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"err_code", "err_msg", "request_id"}
    assert body["err_code"] == CODES[status]
    assert message in body["err_msg"]
    assert body["request_id"] == answer.headers["dg-request-id"] == answer.headers["x-request-id"]


async def test_a_recording_is_answered_with_its_words() -> None:
    answer = await listen(FakeEngine(FOX), "model=nova-3")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["metadata"]["request_id"] == answer.headers["dg-request-id"] == answer.headers["x-request-id"]
    assert body["metadata"]["sha256"] == sha256(AUDIO).hexdigest()
    assert body["metadata"]["duration"] == FOX.duration_s
    (alternative,) = body["results"]["channels"][0]["alternatives"]
    assert alternative["transcript"] == FOX.text
    assert len(alternative["words"]) == 9
    assert "paragraphs" not in alternative
    assert "utterances" not in body["results"]


@pytest.mark.parametrize("spool_mib", [1, 0], ids=["in memory", "on disk"])
async def test_the_engine_gets_the_bytes_and_every_option(spool_mib: float) -> None:
    engine = FakeEngine(FOX)
    query = (
        "encoding=linear16&sample_rate=44100&channels=2&language=en-US&keyterm=Wren&keyterm=so%20called&endpointing=300"
    )
    answer = await listen(engine, query, content=pieces(), spool_mib=spool_mib)
    assert answer.json()["metadata"]["sha256"] == sha256(AUDIO).hexdigest()
    (asked,) = engine.requests
    assert asked.audio == AUDIO or spool_mib == 0
    assert asked.raw == RawFormat("linear16", 44100, 2)
    assert (asked.options.language, asked.options.hotwords) == ("en", ("Wren", "so called"))
    assert asked.options.word_times
    assert asked.vad == VadOptions()


async def test_the_model_that_is_named_serves() -> None:
    engine = FakeEngine(FOX, infos=(model_info("fake", "int8", default=True), model_info("fake", "fp32")))
    body = (await listen(engine, "model=fake:fp32")).json()
    (model_id,) = body["metadata"]["models"]
    assert body["metadata"]["model_info"][model_id]["name"] == "fake:fp32"
    assert (await listen(engine, "model=nova-2-meeting")).json()["metadata"]["model_info"].popitem()[1][
        "name"
    ] == "fake:int8"


@pytest.mark.parametrize("authorization", ["Token right", "token right", "Bearer right"])
async def test_a_key_lets_in(authorization: str) -> None:
    answer = await listen(FakeEngine(FOX), headers={"authorization": authorization}, api_keys=("right",))
    assert answer.status_code == 200


@pytest.mark.parametrize("headers", [{}, {"authorization": "Token wrong"}, {"authorization": "Basic right"}])
async def test_without_the_key_the_body_is_not_read(headers: dict[str, str]) -> None:
    engine = FakeEngine(FOX)
    assert_refused(await listen(engine, "model=zzz", headers=headers, api_keys=("right",)), 401, "API key")
    assert not engine.requests


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("model=zzz", "zzz"),
        ("utt_split=no", "utt_split"),
        ("callback=https://example.org", "Callbacks"),
        ("encoding=linear16", "sample_rate"),
        ("language=xx", "language"),
    ],
)
async def test_a_wrong_option_is_a_bad_request(query: str, message: str) -> None:
    assert_refused(await listen(FakeEngine(FOX), query), 400, message)


async def test_an_address_in_place_of_a_recording_is_refused() -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    answer = await listen(FakeEngine(FOX), content=b'{"url": "https://example.org/a.wav"}', headers=headers)
    assert_refused(answer, 400, "Send the bytes")


async def test_a_compressed_body_is_refused() -> None:
    assert_refused(await listen(FakeEngine(FOX), headers={"content-encoding": "gzip"}), 415, "'gzip'")


async def test_no_body_is_a_bad_request() -> None:
    assert_refused(await listen(FakeEngine(FOX), content=b""), 400, "0 bytes")


@pytest.mark.parametrize("streamed", [False, True], ids=["announced", "not announced"])
async def test_too_large_a_body_is_refused(streamed: bool) -> None:
    answer = await listen(FakeEngine(FOX), content=pieces() if streamed else AUDIO, max_upload_mib=1 / 2**18)
    assert_refused(answer, 413, "larger")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UndecodableAudio(container="mp4", codec="none", reason="cut off"), 400),
        (AudioTooLong(limit_s=10), 413),
        (Overloaded(retry_after_s=2.5), 429),
        (RecognitionFailed("no luck"), 500),
        (ModelUnavailable("fake", "no memory"), 503),
        (DeadlineExceeded(budget_s=2, asked=False), 504),
    ],
)
async def test_every_failure_has_the_shape_of_the_protocol(error: WrenError, status: int) -> None:
    assert_refused(await listen(FakeEngine(error=error)), status, str(error))


async def test_who_is_too_many_is_told_when_to_come_back() -> None:
    answer = await listen(FakeEngine(error=Overloaded(retry_after_s=2.5)))
    assert answer.headers["retry-after"] == "3"


async def test_a_fault_gives_nothing_away() -> None:
    assert_refused(await listen(FakeEngine()), 500, "log")


class StoppedEngine(FakeEngine):
    async def transcribe(self, request: Request) -> Served:
        raise asyncio.CancelledError("the server stops")


async def test_who_is_cut_off_by_the_end_of_the_server_is_told() -> None:
    assert_refused(await listen(StoppedEngine(FOX)), 503, "The server is stopping.")


async def test_another_method_is_refused() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        assert_refused(await client.get("/v1/listen"), 405, "POST")
        assert (await client.put("/v1/listen")).headers["allow"] == "POST"


async def test_options_are_in_the_description() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        route = (await client.get("/openapi.json")).json()["paths"]["/v1/listen"]
    assert route.keys() == {"post"}
    assert {"model", "utt_split", "replace"} <= {parameter["name"] for parameter in route["post"]["parameters"]}
    assert {"200", "400", "401", "429"} <= route["post"]["responses"].keys()
    assert "application/octet-stream" in route["post"]["requestBody"]["content"]


def test_half_a_body_is_answered_with_408_and_the_end_of_the_connection() -> None:
    head = b"POST /v1/listen HTTP/1.1\r\nHost: wren\r\nContent-Length: 10\r\n\r\n"
    app = app_of(FakeEngine(FOX), upload_idle_s=0.1)
    with served(app) as port, socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head + b"half")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"err_code":"SLOW_UPLOAD"' in answer
