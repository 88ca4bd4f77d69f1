import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest

from service.audio.types import RawFormat
from service.engine.fake import FakeEngine
from service.engine.fake_stream import SILENT, FakeStream
from service.engine.streaming import (
    Cleared,
    Final,
    Interim,
    SpeechStarted,
    SpeechStopped,
    Stream,
    StreamRequest,
    UtteranceEnded,
)
from service.errors import Overloaded, RecognitionFailed, UndecodableAudio
from tests.api.deepgram import (
    HALF_A_SECOND,
    HELLO,
    LARGE,
    MANIFEST,
    RAW,
    SILENCE,
    impatient,
    kinds,
    listening,
    playing,
    refusal_of,
    say,
    texts,
    until_closed,
)
from tests.api.serving import wait_until
from tests.api.speech import segment


def test_what_is_said_is_told_and_the_tail_before_the_close() -> None:
    engine = playing(
        (Interim(0.0, 0.3, (segment("Hello", 0.0, 0.3),), "", MANIFEST), Final(0.0, 0.5, (HELLO,), "pause")),
        finish=(segment("Bye.", 0.5, 1.0),),
    )
    with listening(engine, f"{RAW}&interim_results=true") as session:
        session.send_bytes(HALF_A_SECOND)
        session.send_bytes(HALF_A_SECOND)
        say(session, "CloseStream")
        messages, code, reason = until_closed(session)
    assert kinds(messages) == ["Results", "Results", "Results", "Metadata"]
    assert texts(messages) == ["Hello", "Hello there.", "Bye."]
    assert [message["is_final"] for message in messages[:3]] == [False, True, True]
    assert [(message["start"], message["duration"]) for message in messages[1:3]] == [(0.0, 0.5), (0.5, 0.5)]
    assert (code, reason) == (1000, "")


def test_metadata_sums_the_stream_up() -> None:
    with listening(playing(), f"{RAW}&tag=a&extra=b:c&diarize=true&utterances=true") as session:
        accepted: dict[bytes, bytes] = dict(session.extra_headers or [])
        session.send_bytes(HALF_A_SECOND)
        session.send_bytes(LARGE)
        say(session, "CloseStream")
        metadata = until_closed(session)[0][-1]
    assert metadata["request_id"] == accepted[b"dg-request-id"].decode()
    assert metadata["sha256"] == sha256(HALF_A_SECOND + LARGE).hexdigest()
    assert (metadata["duration"], metadata["channels"], metadata["transaction_key"]) == (33.268, 1, "deprecated")
    assert (metadata["tags"], metadata["extra"]) == (["a"], {"b": "c"})
    warnings = metadata["warnings"]
    assert isinstance(warnings, list)
    assert [warning["parameter"] for warning in warnings if isinstance(warning, dict)] == ["utterances", "diarize"]


def test_an_empty_piece_of_audio_closes_the_stream() -> None:
    with listening(playing()) as session:
        session.send_bytes(b"")
        messages, code, _ = until_closed(session)
    assert (kinds(messages), code) == (["Results", "Metadata"], 1000)


def test_a_stream_without_audio_ends_well() -> None:
    with listening(playing()) as session:
        say(session, "CloseStream")
        messages, code, _ = until_closed(session)
    assert (messages[0]["start"], messages[0]["duration"], texts(messages), code) == (0.0, 0.0, [""], 1000)
    assert messages[-1]["sha256"] == sha256().hexdigest()


def test_what_comes_after_the_close_is_not_heard() -> None:
    engine = playing()
    with listening(engine) as session:
        say(session, "CloseStream")
        session.send_bytes(HALF_A_SECOND)
        say(session, "Finalize")
        until_closed(session)
    assert engine.streams[0].calls == ["finish"]


def test_finalize_is_answered_and_the_stream_goes_on() -> None:
    engine = playing(commit=((segment("Half.", 0.0, 0.5),),))
    with listening(engine) as session:
        session.send_bytes(HALF_A_SECOND)
        say(session, "Finalize", channel=0)
        answer = session.receive_json()
        session.send_bytes(HALF_A_SECOND)
        say(session, "CloseStream")
        messages, _, _ = until_closed(session)
    assert (answer["from_finalize"], answer["is_final"], answer["speech_final"]) == (True, True, False)
    assert texts([answer]) == ["Half."]
    assert messages[0]["from_finalize"] is False
    assert (messages[0]["start"], messages[0]["duration"]) == (0.5, 0.5)


def test_keep_alive_is_neither_answered_nor_audio() -> None:
    engine = playing()
    with listening(engine) as session:
        say(session, "KeepAlive")
        say(session, "CloseStream")
        messages, _, _ = until_closed(session)
    assert engine.streams[0].calls == ["finish"]
    assert kinds(messages) == ["Results", "Metadata"]


def test_speech_and_gaps_are_told_where_they_were_asked_for() -> None:
    events = (SpeechStarted(0.1234), SpeechStopped(0.4), UtteranceEnded(0.35), Cleared(0.5))
    for query, expected in (("", ["UtteranceEnd"]), ("&vad_events=true", ["SpeechStarted", "UtteranceEnd"])):
        with listening(playing(events), RAW + query) as session:
            session.send_bytes(HALF_A_SECOND)
            say(session, "CloseStream")
            messages, _, _ = until_closed(session)
        assert kinds(messages)[:-2] == expected
    assert messages[0] == {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.123}
    assert messages[1] == {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 0.35}


def test_interims_are_not_told_unless_they_were_asked_for() -> None:
    with listening(playing((Interim(0.0, 0.5, (HELLO,), "", MANIFEST),))) as session:
        session.send_bytes(HALF_A_SECOND)
        say(session, "CloseStream")
        assert texts(until_closed(session)[0]) == [""]


@pytest.mark.parametrize("text", ["", "garbage", "[]", "{}", '{"type": "Dance"}', '{"type": 1}', '"KeepAlive"', "\0"])
def test_what_is_not_understood_is_said_and_the_stream_goes_on(text: str) -> None:
    with listening(playing()) as session:
        session.send_text(text)
        error = session.receive_json()
        say(session, "CloseStream")
        assert until_closed(session)[1] == 1000
    assert (error["type"], error["variant"], error["message"]) == ("Error", "SchemaError", text)
    assert "CloseStream" in error["description"]


def test_a_long_message_is_not_echoed_whole() -> None:
    with listening(playing()) as session:
        session.send_text("x" * 100_000)
        assert len(session.receive_json()["message"]) == 1000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (json.dumps({"type": "Configure", "keyterms": ["x"] * 1_000_000}), "65536 characters"),
        ("[" * 1_000_000, "65536 characters"),
        ("[" * 60_000, "recursion"),
        (json.dumps({"type": "Configure", "keyterms": ["x"] * 201}), "keyterms"),
        (json.dumps({"type": "Configure", "features": {str(number): True for number in range(201)}}), "features"),
    ],
)
def test_a_message_of_too_much_is_said_and_the_stream_goes_on(text: str, why: str) -> None:
    engine = playing()
    with listening(engine) as session:
        session.send_text(text)
        error = session.receive_json()
        say(session, "CloseStream")
        assert until_closed(session)[1] == 1000
    assert (error["variant"], engine.streams[0].configured) == ("SchemaError", [])
    assert why in error["description"]


def test_too_many_keyterms_change_nothing() -> None:
    engine = playing()
    with listening(engine) as session:
        say(session, "Configure", keyterms=["long" * 500] * 5)
        answer = session.receive_json()
    assert (answer["type"], answer["code"]) == ("ConfigureFailure", "CONFIGURE_KEYTERMS_NOT_SUPPORTED")
    assert "8192 bytes" in answer["description"]
    assert engine.streams[0].configured == []


class ClosingStream(FakeStream):
    """The engine is closed as soon as there is audio."""

    async def feed(self, audio: bytes) -> None:
        self._events.put_nowait(None)


class ClosingEngine(FakeEngine):
    @asynccontextmanager
    async def listen(self, request: StreamRequest) -> AsyncGenerator[Stream, None]:
        yield ClosingStream(request, SILENT, lambda _model: MANIFEST, None)


def test_a_stream_that_the_engine_gives_up_is_told() -> None:
    with listening(ClosingEngine()) as session:
        session.send_bytes(HALF_A_SECOND)
        messages, code, reason = until_closed(session)
    assert (messages, code) == ([], 1012)
    assert "Open another" in reason


def test_keyterms_change_in_mid_stream() -> None:
    engine = playing()
    with listening(engine, f"{RAW}&keyterm=old&interim_results=true") as session:
        session.send_bytes(HALF_A_SECOND)
        say(session, "Configure", keyterms=["new", "other"])
        answer = session.receive_json()
        assert (answer["type"], answer["keyterms"]) == ("ConfigureSuccess", ["new", "other"])
        say(session, "Configure", features={"punctuate": True, "numerals": False})
        answer = session.receive_json()
        assert (answer["type"], "keyterms" in answer) == ("ConfigureSuccess", False)
    (configured,) = engine.streams[0].configured
    assert configured.options.hotwords == ("new", "other")
    assert (configured.interims, configured.raw) == (True, RawFormat("linear16", 16000))


def test_a_feature_that_cannot_be_changed_changes_nothing() -> None:
    engine = playing()
    with listening(engine) as session:
        say(session, "Configure", keyterms=["new"], features={"numerals": True})
        answer = session.receive_json()
    assert (answer["type"], answer["code"]) == ("ConfigureFailure", "CONFIGURE_INTERNAL_ERROR")
    assert "numerals" in answer["description"]
    assert engine.streams[0].configured == []


def test_a_part_that_failed_is_told_and_the_stream_goes_on() -> None:
    failed = Final(0.0, 0.5, (), "pause", failure=RecognitionFailed("no luck"))
    with listening(playing((failed,))) as session:
        session.send_bytes(HALF_A_SECOND)
        say(session, "CloseStream")
        messages, code, _ = until_closed(session)
    assert kinds(messages) == ["Error", "Results", "Results", "Metadata"]
    assert (messages[0]["variant"], code) == ("RecognitionFailed", 1000)
    assert "no luck" in str(messages[0]["description"])
    assert (messages[1]["start"], messages[1]["duration"]) == (0.0, 0.5)


def test_what_cannot_be_decoded_closes_with_the_code_of_the_protocol() -> None:
    error = UndecodableAudio(container="mp4", codec="none", reason="cut off")
    with listening(playing((SILENCE, error)), "") as session:
        session.send_bytes(b"no audio")
        messages, code, reason = until_closed(session)
    assert (texts(messages), code) == ([""], 1008)
    assert reason.startswith("DATA-0000: ")
    assert "container mp4" in reason


def test_any_other_failure_closes_with_its_reason() -> None:
    with listening(playing((RecognitionFailed("no luck"),))) as session:
        session.send_bytes(HALF_A_SECOND)
        assert until_closed(session)[1:] == (1011, "The model failed on this recording: no luck.")


def test_who_says_nothing_is_closed_after_the_tail() -> None:
    engine = playing(finish=(HELLO,))
    with listening(engine, app=impatient(engine, idle_s=0.05)) as session:
        session.send_bytes(HALF_A_SECOND)
        messages, code, reason = until_closed(session)
    assert (texts(messages), kinds(messages)[-1], code) == (["Hello there."], "Metadata", 1011)
    assert reason.startswith("NET-0001: ")
    assert reason.endswith("https://dpgr.am/net0001")


def test_keep_alive_keeps_a_stream_open() -> None:
    engine = playing()
    with listening(engine, app=impatient(engine, idle_s=0.5)) as session:
        for _ in range(15):
            time.sleep(0.04)
            say(session, "KeepAlive")
        say(session, "CloseStream")
        assert until_closed(session)[1] == 1000


def test_a_stream_ends_well_when_its_time_is_over() -> None:
    engine = playing(finish=(HELLO,))
    with listening(engine, app=impatient(engine, idle_s=10, max_stream_s=0.05)) as session:
        session.send_bytes(HALF_A_SECOND)
        messages, code, _ = until_closed(session)
    assert (texts(messages), kinds(messages)[-1], code) == (["Hello there."], "Metadata", 1000)


def test_who_leaves_is_forgotten() -> None:
    engine = playing()
    with listening(engine) as session:
        session.send_bytes(HALF_A_SECOND)
        wait_until(lambda: engine.streams[0].audio)
    wait_until(lambda: engine.streams[0].left)
    assert engine.streams[0].calls == ["feed"]


def test_the_engine_is_asked_as_the_query_says() -> None:
    engine = playing()
    with listening(engine, "encoding=mulaw&endpointing=300&interim_results=true&utterance_end_ms=1000&model=nova-2"):
        (stream,) = engine.streams
        assert stream.request.raw == RawFormat("mulaw", 8000)
        assert (stream.request.model, stream.request.turns, stream.request.interims) == ("auto", True, True)
        assert (stream.request.vad.silence_duration_ms, stream.request.utterance_gap_s) == (300, 1.0)


def test_without_an_encoding_the_audio_says_what_it_is() -> None:
    engine = playing()
    with listening(engine, "model=nova-3"):
        assert engine.streams[0].request.raw is None


@pytest.mark.parametrize(
    ("headers", "subprotocols", "query"),
    [
        ({"authorization": "Token right"}, [], RAW),
        ({"authorization": "Bearer right"}, [], RAW),
        ({}, ["token", "right"], RAW),
        ({}, ["Bearer", "right"], RAW),
        ({}, [], f"{RAW}&token=right"),
        ({}, [], f"{RAW}&api_key=right"),
    ],
)
def test_a_key_lets_in(headers: dict[str, str], subprotocols: list[str], query: str) -> None:
    with listening(playing(), query, headers=headers, subprotocols=subprotocols, api_keys=("right",)) as session:
        assert session.accepted_subprotocol == (subprotocols[0] if subprotocols else None)
        say(session, "CloseStream")
        assert "warnings" not in until_closed(session)[0][-1]


@pytest.mark.parametrize("subprotocols", [[], ["token", "wrong"], ["token"], ["wrong", "right"]])
def test_without_the_key_the_handshake_is_refused(subprotocols: list[str]) -> None:
    engine = playing()
    refusal = refusal_of(engine, subprotocols=subprotocols, api_keys=("right",))
    assert (refusal.status_code, refusal.json()["err_code"]) == (401, "INVALID_AUTH")
    assert refusal.json()["request_id"] == refusal.headers["dg-request-id"]
    assert "API key" in refusal.headers["dg-error"]
    assert engine.streams == []


@pytest.mark.parametrize(
    "query", ["encoding=linear16", f"{RAW}&utterance_end_ms=1000", "model=zzz", "callback=http://x"]
)
def test_a_wrong_option_is_refused_in_the_handshake(query: str) -> None:
    refusal = refusal_of(playing(), query)
    assert (refusal.status_code, refusal.json()["err_code"]) == (400, "Bad Request")


def test_a_name_in_any_script_fits_into_the_header() -> None:
    refusal = refusal_of(playing(), "model[%00]=1&model[%00]=2&language=%E4%BD%A0")
    assert refusal.status_code == 400
    assert refusal.headers["dg-error"].isascii()
    assert refusal.headers["dg-error"].isprintable()
    assert len(refusal_of(playing(), f"model={'x' * 4000}").headers["dg-error"]) == 500


def test_one_stream_too_many_is_refused_in_the_handshake() -> None:
    refusal = refusal_of(FakeEngine(error=Overloaded("no more streams", retry_after_s=3)))
    assert (refusal.status_code, refusal.json()["err_code"]) == (429, "TOO_MANY_REQUESTS")
    assert refusal.headers["retry-after"] == "3"
