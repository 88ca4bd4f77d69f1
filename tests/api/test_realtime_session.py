"""A Realtime session over an engine that plays a script."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from service.api.realtime_asked import MAX_AUDIO_BYTES
from service.audio.types import RawFormat
from service.engine.fake import FakeEngine, model_info
from service.engine.fake_stream import FakeStream, Script
from service.engine.streaming import Final, Interim, SpeechStarted, SpeechStopped, Stream, StreamRequest
from service.errors import RecognitionFailed
from tests.api.realtime import HUNDRED_MS, connected, session
from tests.api.speech import FOX, segment

FOX_SEGMENT, DOG_SEGMENT = FOX.segments
MANIFEST = model_info("fake", "fp32").manifest
SPOKEN = Script(
    audio=(
        (SpeechStarted(0.5), Interim(0, 1, (FOX_SEGMENT,), "The quick", MANIFEST)),
        (SpeechStopped(3.0), Final(0, 3.3, (FOX_SEGMENT,), "pause")),
    ),
    commit=((DOG_SEGMENT,),),
    finish=(DOG_SEGMENT,),
)
COMPLETED = "conversation.item.input_audio_transcription.completed"
TWO_MODELS = (model_info("fake", "fp32", default=True), model_info("other", "fp32"))
OTHER_MODEL = {"audio": {"input": {"transcription": {"model": "other"}}}}


def stream_of(engine: FakeEngine) -> FakeStream:
    return engine.streams[-1]


def test_session_is_created_at_once_with_all_of_its_configuration() -> None:
    with session(FakeEngine(), max_stream_s=100) as (_, begun):
        assert begun["object"] == "realtime.transcription_session"
        assert begun["type"] == "transcription"
        assert str(begun["id"]).startswith("sess_")
        assert begun["include"] == []
        assert begun["audio"] == {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "noise_reduction": None,
                "transcription": {"model": "auto", "language": None, "languages": [], "prompt": "", "keywords": []},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                },
            }
        }


def test_speech_becomes_events_and_a_commit_an_item() -> None:
    engine = FakeEngine(script=SPOKEN)
    with session(engine) as (client, _):
        client.append(10 * HUNDRED_MS)
        client.append(23 * HUNDRED_MS)
        events = client.hear_until(COMPLETED)
        assert [event["delta"] for event in events if "delta" in event] == ["The quick", " brown fox jumps."]
        assert events[-1]["transcript"] == "The quick brown fox jumps."
        client.append()
        client.say("input_audio_buffer.commit")
        committed, *_, completed = client.hear_until(COMPLETED)
        assert committed["previous_item_id"] == events[-1]["item_id"]
        assert completed["transcript"] == "Over the lazy dog."
    assert stream_of(engine).audio == 34 * HUNDRED_MS
    assert stream_of(engine).left


def test_log_probabilities_come_if_they_are_included() -> None:
    with session(FakeEngine(script=SPOKEN)) as (client, _):
        client.update({"include": ["item.input_audio_transcription.logprobs"]})
        client.append()
        client.append()
        logprobs = client.hear_until(COMPLETED)[-1]["logprobs"]
        assert isinstance(logprobs, list)
        assert len(logprobs) == len(FOX_SEGMENT.tokens)


def test_clear_is_answered_and_leaves_nothing_to_commit() -> None:
    engine = FakeEngine()
    with session(engine) as (client, _):
        client.append()
        client.say("input_audio_buffer.clear")
        assert client.hear()["type"] == "input_audio_buffer.cleared"
        client.say("input_audio_buffer.commit")
        assert client.error()["code"] == "input_audio_buffer_commit_empty"
    assert stream_of(engine).calls == ["feed", "clear"]


def test_nothing_can_be_committed_twice() -> None:
    with session(FakeEngine()) as (client, _):
        client.append()
        client.say("input_audio_buffer.commit")
        client.hear_until(COMPLETED)
        client.append(b"")
        client.say("input_audio_buffer.commit", event_id="again")
        error = client.error()
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "again")


def test_what_a_pause_committed_cannot_be_committed_again() -> None:
    with session(FakeEngine(script=SPOKEN)) as (client, _):
        client.append(10 * HUNDRED_MS)
        client.append(23 * HUNDRED_MS + HUNDRED_MS[:-2])
        client.hear_until(COMPLETED)
        client.say("input_audio_buffer.commit")
        assert client.error()["code"] == "input_audio_buffer_commit_empty"


def test_without_turn_detection_text_comes_of_items_that_are_known() -> None:
    with session(FakeEngine(script=SPOKEN)) as (client, _):
        client.update({"audio": {"input": {"turn_detection": None}}})
        client.append()
        client.say("input_audio_buffer.commit")
        kinds = [str(event["type"]).rpartition(".")[2] for event in client.hear_until(COMPLETED)]
    assert kinds == ["committed", "added", "done", "delta", "completed"]


def test_update_is_answered_with_all_that_is_in_effect_and_reaches_the_engine() -> None:
    engine = FakeEngine()
    with session(engine) as (client, begun):
        told = client.update({"audio": {"input": {"format": {"type": "audio/pcmu"}, "turn_detection": None}}})
        assert told["type"] == "session.updated"
        now = told["session"]
        assert isinstance(now, dict)
        assert (now["id"], now["expires_at"]) == (begun["id"], begun["expires_at"])
        assert now["audio"]["input"]["turn_detection"] is None
        assert now["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    (request,) = stream_of(engine).configured
    assert (request.raw, request.turns) == (RawFormat("mulaw", 8_000), False)


def test_what_the_engine_refuses_changes_nothing() -> None:
    with session(FakeEngine()) as (client, _):
        client.append()
        client.say("session.update", session={"audio": {"input": {"format": "g711_alaw"}}}, event_id="mine")
        assert client.error()["event_id"] == "mine"
        told = client.update({"audio": {"input": {"noise_reduction": {"type": "near_field"}}}})
        assert "audio/pcm'" in str(told)
        assert "near_field" in str(told)


def test_another_model_is_taken_before_there_is_audio_on_the_same_stream() -> None:
    engine = FakeEngine(infos=TWO_MODELS)
    with session(engine) as (client, _):
        assert client.update(OTHER_MODEL)["type"] == "session.updated"
        client.append()
        client.say("input_audio_buffer.commit")
        client.hear_until(COMPLETED)
        assert client.update({"audio": {"input": {"transcription": {"model": "fake"}}}})["type"] == "error"
    (stream,) = engine.streams
    assert stream.request.model == "other"


def test_a_model_that_cannot_be_had_leaves_the_one_before() -> None:
    engine = FakeEngine(infos=TWO_MODELS, script=SPOKEN, broken=("other:fp32",))
    with session(engine) as (client, _):
        client.say("session.update", session=OTHER_MODEL, event_id="e")
        error = client.error()
        assert (error["code"], error["event_id"]) == ("model_unavailable", "e")
        client.append()
        client.append()
        assert client.hear_until(COMPLETED)[-1]["transcript"] == FOX_SEGMENT.text.strip()
    assert stream_of(engine).request.model == "auto"


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("{", "invalid_event", None),
        ("[]", "invalid_event", None),
        ('{"event_id": "e"}', "invalid_event", "type"),
        ('{"event_id": "e", "type": "response.create"}', "invalid_event", "type"),
        ('{"event_id": "e", "type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        ('{"event_id": "e", "type": "input_audio_buffer.append", "audio": "%"}', "invalid_value", "audio"),
        ('{"event_id": "e", "type": "input_audio_buffer.append", "audio": 3}', "invalid_value", "audio"),
        ('{"event_id": "e", "type": "session.update"}', "missing_required_parameter", "session"),
        (
            '{"event_id": "e", "type": "session.update", "session": {"audio": {"input": {"turn_detection":'
            ' {"type": "server_vad", "threshold": 2}}}}}',
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            '{"event_id": "e", "type": "session.update", "session": {"input_audio_transcription": {"language": "x"}}}',
            "invalid_value",
            "session.audio.input.transcription.language",
        ),
        (
            '{"event_id": "e", "type": "session.update", "session": {"input_audio_transcription": {"model": "x"}}}',
            "model_not_found",
            "model",
        ),
    ],
)
def test_what_means_nothing_is_an_error_and_the_session_goes_on(message: str, code: str, param: str | None) -> None:
    with session(FakeEngine()) as (client, _):
        client.socket.send_text(message)
        error = client.error()
        assert set(error) == {"type", "code", "message", "param", "event_id"}
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
        assert error["event_id"] == ("e" if "event_id" in message else None)
        assert client.update({})["type"] == "session.updated"


def test_binary_messages_are_an_error() -> None:
    with session(FakeEngine()) as (client, _):
        client.socket.send_bytes(HUNDRED_MS)
        assert client.error()["code"] == "invalid_event"


def test_too_much_audio_at_once_is_an_error() -> None:
    engine = FakeEngine()
    with session(engine) as (client, _):
        client.append(bytes(MAX_AUDIO_BYTES + 1))
        assert client.error()["param"] == "audio"
        client.append(bytes(MAX_AUDIO_BYTES))
        client.update({})
    assert len(stream_of(engine).audio) == MAX_AUDIO_BYTES


def test_a_text_that_is_made_to_be_costly_is_refused_at_once() -> None:
    words = ",".join(["1"] * 5_000_000)
    with session(FakeEngine()) as (client, _):
        began_s = time.perf_counter()
        client.socket.send_text(
            f'{{"type":"session.update","session":{{"audio":{{"input":{{"keywords":[{words}]}}}}}}}}'
        )
        assert client.error()["code"] == "invalid_event"
        assert client.update({})["type"] == "session.updated"
        assert time.perf_counter() - began_s < 2


@pytest.mark.parametrize("given", [{"prompt": "a" * 8_193}, {"prompt": "a" * 4_096, "keywords": ["b" * 4_097]}])
def test_a_model_is_told_so_much_and_no_more_also_bit_by_bit(given: Mapping[str, object]) -> None:
    with session(FakeEngine()) as (client, _):
        refused = [client.update({"audio": {"input": {"transcription": given}}})]
        for name, value in given.items():
            refused.append(client.update({"audio": {"input": {"transcription": {name: value}}}}))
        assert [refused[0]["type"], refused[-1]["type"]] == ["error", "error"]
        assert (
            client.update({"audio": {"input": {"transcription": {"prompt": "a", "keywords": []}}}})["type"] != "error"
        )


class ClosingEngine(FakeEngine):
    """Its streams end as soon as they begin."""

    @asynccontextmanager
    async def listen(self, request: StreamRequest) -> AsyncGenerator[Stream, None]:
        async with super().listen(request) as stream:
            await stream.finish()
            yield stream


def test_an_engine_that_closes_is_told_as_a_restart() -> None:
    with session(ClosingEngine()) as (client, _):
        assert client.closed() == (1012, "The server stops.")


def test_a_stream_that_fails_is_told_and_closed() -> None:
    with session(FakeEngine(script=Script(audio=((RecognitionFailed("it broke"),),)))) as (client, _):
        client.append()
        assert client.error()["code"] == "recognition_failed"
        assert client.closed()[0] == 1011


def test_a_failed_final_fails_its_item_and_the_session_goes_on() -> None:
    failed = Final(0, 1, (), "pause", failure=RecognitionFailed("it broke"))
    with session(FakeEngine(script=Script(audio=((SpeechStarted(0), failed),)))) as (client, _):
        client.append()
        told = client.hear_until("conversation.item.input_audio_transcription.failed")[-1]
        assert "it broke" in str(told["error"])
        assert client.update({})["type"] == "session.updated"


@pytest.mark.parametrize(
    ("setting", "name"), [("stream_idle_s", "WREN_STREAM_IDLE_S"), ("max_stream_s", "WREN_MAX_STREAM_S")]
)
def test_a_session_that_is_over_answers_its_tail_first(setting: str, name: str) -> None:
    engine = FakeEngine(script=SPOKEN)
    limits: dict[str, object] = {setting: 0.05}
    with connected(engine, **limits) as client:  # type: ignore[arg-type]  # it has no such parameter
        client.append(10 * HUNDRED_MS)
        told = client.hear_until(COMPLETED)
        assert str(told[-1]["transcript"]).endswith("lazy dog.")
        error = client.error()
        assert error["code"] == "session_expired"
        assert client.closed() == (1000, error["message"])
    assert name in str(error["message"])
    assert stream_of(engine).left


def test_a_client_that_always_talks_is_over_in_time_too() -> None:
    with session(FakeEngine(), max_stream_s=0.05) as (client, _):
        while client.update({})["type"] == "session.updated":
            pass
        assert client.closed()[0] == 1000


def test_a_client_that_leaves_while_it_is_held_back_leaves_nothing() -> None:
    gate = asyncio.Event()
    engine = FakeEngine(gate=gate)
    with session(engine) as (client, _):
        client.append()
    assert stream_of(engine).left


OLDER = {"openai-beta": "realtime=v1"}


def test_older_clients_get_the_names_that_they_know() -> None:
    with session(FakeEngine(script=SPOKEN), headers=OLDER) as (client, begun):
        assert begun["input_audio_format"] == "pcm16"
        flat = {"input_audio_format": "g711_ulaw", "input_audio_transcription": {"model": "gpt-4o-transcribe"}}
        client.say("transcription_session.update", session={**flat, "turn_detection": {"type": "server_vad"}})
        told = client.hear()
        assert told["type"] == "transcription_session.updated"
        now = told["session"]
        assert isinstance(now, dict)
        assert now["input_audio_format"] == "g711_ulaw"
        assert now["input_audio_transcription"]["model"] == "gpt-4o-transcribe"
        assert now["turn_detection"]["type"] == "server_vad"
        client.append()
        client.append()
        kinds = [event["type"] for event in client.hear_until(COMPLETED)]
        assert "conversation.item.created" in kinds
        assert "conversation.item.added" not in kinds


def test_who_updates_as_older_clients_do_is_one() -> None:
    with session(FakeEngine()) as (client, _):
        client.say("transcription_session.update", session={})
        assert client.hear()["type"] == "transcription_session.updated"


def test_a_session_is_one_log_line_and_counted_by_how_it_closed() -> None:
    engine = FakeEngine(script=SPOKEN)
    with capture_logs() as lines, session(engine, "/v1/realtime?api_key=secret") as (client, _):
        client.append()
        client.append()
        client.hear_until(COMPLETED)
        handshake = str(client.socket.extra_headers)
    (line,) = lines
    assert line["event"] == "session"
    assert f"(b'x-request-id', b'{line['request_id']}')" in handshake
    assert (line["path"], line["status"], line["closed"]) == ("/v1/realtime", 1000, "client")
    assert (line["variant"], line["audio_s"], line["finals"]) == ("fake:fp32", 3.3, 1)
    assert "secret" not in str(line)


def test_stages_of_a_stream_are_added_up_and_its_text_is_a_line_where_it_is_wanted() -> None:
    said = Final(0.0, 1.0, (segment("hello", 0.0, 1.0),), "pause", stage_ms={"vad": 1.0, "encode": 20.0})
    more = Final(1.0, 2.0, (segment("world", 1.0, 2.0),), "pause", stage_ms={"vad": 2.0, "encode": 30.0})
    engine = FakeEngine(script=Script(audio=((said,), (more,))))
    for wanted in (True, False):
        with capture_logs() as lines, session(engine, log_text=wanted) as (client, _):
            for _ in range(2):
                client.append()
                client.hear_until(COMPLETED)
        events = {line["event"]: line for line in lines}
        assert (events["session"]["vad_ms"], events["session"]["encode_ms"]) == (3.0, 50.0)
        assert events.get("transcript", {}).get("text") == ("hello world" if wanted else None)
