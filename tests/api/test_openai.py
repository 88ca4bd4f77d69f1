import json
import math

import pytest

from service.audio.types import RawFormat, VadOptions
from service.engine.fake import FakeEngine, model_info
from service.errors import AudioTooLong, ModelUnavailable, Overloaded, UndecodableAudio, WrenError
from tests.api.speech import FILE, FOX, SILENCE, app_of, client_of, post

pytestmark = pytest.mark.anyio


async def test_json_is_the_default() -> None:
    answer = await post(FakeEngine(FOX), {})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["text"] == FOX.text


@pytest.mark.parametrize(
    ("response_format", "media_type"),
    [
        ("json", "application/json"),
        ("verbose_json", "application/json"),
        ("text", "text/plain; charset=utf-8"),
        ("srt", "text/plain; charset=utf-8"),
        ("vtt", "text/vtt; charset=utf-8"),
    ],
)
async def test_each_format_has_its_content_type(response_format: str, media_type: str) -> None:
    answer = await post(FakeEngine(FOX), {"response_format": response_format})
    assert answer.headers["content-type"] == media_type
    assert "fox" in answer.text


async def test_silence_is_answered_with_empty_text() -> None:
    answer = await post(FakeEngine(SILENCE), {"response_format": "text"})
    assert (answer.status_code, answer.text) == (200, "")


async def test_the_engine_gets_the_bytes_and_every_option() -> None:
    engine = FakeEngine(FOX)
    fields = {
        "language": "en",
        "prompt": "Hello.",
        "temperature": "0.2",
        "timestamp_granularities[]": ["word", "segment"],
        "keywords[]": ["Wren"],
        "chunking_strategy[type]": "server_vad",
        "chunking_strategy[silence_duration_ms]": "700",
        "encoding": "mulaw",
        "something_else": "1",
    }
    await post(engine, fields)
    (asked,) = engine.requests
    assert asked.audio == b"any bytes"
    assert asked.model == "fake"
    assert asked.options.prompt == "Hello."
    assert asked.options.temperatures == (0.2,)
    assert asked.options.word_times
    assert asked.options.hotwords == ("Wren",)
    assert asked.vad == VadOptions(silence_duration_ms=700)
    assert asked.raw == RawFormat("mulaw", 8000)


async def test_translation_is_the_same_with_another_task() -> None:
    engine = FakeEngine(FOX)
    answer = await post(engine, {"response_format": "verbose_json"}, path="translations")
    assert engine.requests[0].options.task == "translate"
    assert answer.json()["segments"]


async def test_words_and_logprobs_come_when_asked_for() -> None:
    verbose = await post(FakeEngine(FOX), {"response_format": "verbose_json", "timestamp_granularities[]": "word"})
    assert len(verbose.json()["words"]) == 9
    plain = await post(FakeEngine(FOX), {"include[]": "logprobs"})
    assert plain.json()["logprobs"][0] == {"token": " The", "logprob": -0.25, "bytes": [32, 84, 104, 101]}


async def test_headers_tell_times_and_the_variant_that_served() -> None:
    answer = await post(FakeEngine(FOX), {})
    assert answer.headers["x-wren-variant"] == "fake:fp32"
    assert int(answer.headers["openai-processing-ms"]) >= 0
    stages = [stage.split(";")[0] for stage in answer.headers["server-timing"].split(", ")]
    assert stages == ["upload", "decode", "queue", "encode", "total"]


def switching() -> FakeEngine:
    return FakeEngine(FOX, infos=(model_info("fake", "fp32", default=True), model_info("fake", "int8")))


@pytest.mark.parametrize("stream", ["false", "true"])
async def test_precision_is_a_wish_and_the_headers_tell_what_came_of_it(stream: str) -> None:
    engine = switching()
    granted = await post(engine, {"precision": "int8", "stream": stream})
    other = await post(engine, {"model": "auto", "precision": "bf16", "stream": stream})
    assert [(asked.model, asked.precision) for asked in engine.requests] == [("fake", "int8"), ("auto", "bf16")]
    assert (granted.headers["x-wren-variant"], granted.headers["x-wren-variant-reason"]) == ("fake:int8", "wished for")
    assert (other.status_code, other.headers["x-wren-variant"]) == (200, "fake:fp32")


@pytest.mark.parametrize("order", [{"model": "fake:int8"}, {"variant": "int8"}, {"model": "auto", "variant": "int8"}])
async def test_a_variant_that_is_named_is_an_order(order: dict[str, str]) -> None:
    engine = switching()
    answer = await post(engine, {**order, "precision": "int8"})
    assert (engine.requests[0].model, engine.requests[0].precision) == ("fake:int8", None)
    assert answer.headers["x-wren-variant-reason"] == "asked for by name"
    refused = await post(engine, {**order, "precision": "fp32"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "precision")


async def test_the_server_s_own_variant_is_no_order_of_the_clients() -> None:
    engine = switching()
    await post(engine, {"model": "whisper-1"}, model="fake:fp32")
    assert engine.requests[0].model == "auto"


async def test_the_engine_is_told_how_long_to_keep_the_variant() -> None:
    engine = FakeEngine(FOX)
    for value in ("5m", "-1"):
        await post(engine, {"keep_alive": value})
    assert [asked.keep_alive_s for asked in engine.requests] == [300, math.inf]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UndecodableAudio(container="mp3", codec="none", reason="cut off"), 400),
        (AudioTooLong(limit_s=1), 413),
        (ModelUnavailable("fake", "no memory"), 503),
        (Overloaded(retry_after_s=1), 429),
    ],
)
@pytest.mark.parametrize("stream", ["false", "true"])
async def test_engine_errors_keep_their_status_also_before_a_stream(error: WrenError, status: int, stream: str) -> None:
    answer = await post(FakeEngine(error=error), {"stream": stream})
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == str(error)


@pytest.mark.parametrize("stream", ["false", "true"])
async def test_unknown_model_is_404(stream: str) -> None:
    answer = await post(FakeEngine(FOX), {"model": "nope", "stream": stream})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert answer.json()["error"]["param"] == "model"


async def test_missing_file_is_400() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        answer = await client.post("/v1/audio/transcriptions", files={"model": (None, "fake")})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "file"


async def test_file_under_another_name_or_as_text_is_400() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        other = await client.post("/v1/audio/transcriptions", data={"model": "fake"}, files={"audio": FILE["file"]})
        text = await client.post("/v1/audio/transcriptions", files={"model": (None, "fake"), "file": (None, "RIFF")})
    assert (other.status_code, text.status_code) == (400, 400)
    assert "missing" in other.json()["error"]["message"]
    assert "as text" in text.json()["error"]["message"]


async def test_two_files_are_400() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        answer = await client.post("/v1/audio/transcriptions", data={"model": "fake"}, files=[*FILE.items()] * 2)
    assert answer.status_code == 400
    assert "twice" in answer.json()["error"]["message"]


async def test_empty_file_is_400() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        answer = await client.post(
            "/v1/audio/transcriptions", data={"model": "fake"}, files={"file": ("a.wav", b"", "audio/wav")}
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "empty_audio"


async def test_upload_over_the_limit_is_413() -> None:
    answer = await post(FakeEngine(FOX), {}, max_upload_mib=0.0001)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "file_too_large"


async def test_diarisation_is_refused_clearly() -> None:
    answer = await post(FakeEngine(FOX), {"response_format": "diarized_json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "response_format"


async def test_wrong_key_is_401_before_anything_is_read() -> None:
    engine = FakeEngine(FOX)
    answer = await post(engine, {}, api_keys=("right",))
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert engine.requests == []


async def test_right_key_is_let_in() -> None:
    async with client_of(app_of(FakeEngine(FOX), api_keys=("right",))) as client:
        client.headers["authorization"] = "Bearer right"
        answer = await client.post("/v1/audio/transcriptions", data={"model": "fake"}, files=FILE)
    assert answer.status_code == 200


async def test_form_is_documented_field_by_field() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        routes = (await client.get("/openapi.json")).json()["paths"]
    schema = routes["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"file", "model", "stream", "precision", "chunking_strategy"} <= set(schema["properties"])
    assert schema["required"] == ["file", "model"]


def events(body: str) -> list[dict[str, object]]:
    return [json.loads(block.removeprefix("data: ")) for block in body.split("\n\n") if block.startswith("data: ")]


async def test_stream_sends_a_delta_a_segment_and_the_whole_at_the_end() -> None:
    answer = await post(FakeEngine(FOX), {"stream": "true"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-wren-variant"] == "fake:fp32"
    *deltas, done = events(answer.text)
    assert [event["type"] for event in deltas] == ["transcript.text.delta"] * 2
    assert "".join(str(event["delta"]) for event in deltas) == FOX.text
    assert done == {
        "type": "transcript.text.done",
        "text": FOX.text,
        "usage": {"type": "tokens", "input_tokens": 85, "output_tokens": 9, "total_tokens": 94},
    }


async def test_stream_has_logprobs_in_each_event() -> None:
    answer = await post(FakeEngine(FOX), {"stream": "true", "include[]": "logprobs"})
    counts = [len(event["logprobs"]) for event in events(answer.text)]  # type: ignore[arg-type]
    assert counts == [5, 4, 9]


async def test_stream_of_silence_is_done_at_once() -> None:
    (done,) = events((await post(FakeEngine(SILENCE), {"stream": "true"})).text)
    assert (done["type"], done["text"]) == ("transcript.text.done", "")


async def test_failure_half_way_is_an_error_event_with_all_four_keys() -> None:
    engine = FakeEngine(FOX, error=ModelUnavailable("fake", "gone"), fail_after=1)
    answer = await post(engine, {"stream": "true"})
    assert answer.status_code == 200
    first, last = events(answer.text)
    assert first["type"] == "transcript.text.delta"
    assert last["error"] == {
        "message": "The model 'fake' cannot be loaded: gone.",
        "type": "server_error",
        "param": "model",
        "code": "model_unavailable",
    }
