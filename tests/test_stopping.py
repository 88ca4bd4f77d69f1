"""A server that is told to stop, seen by those who are connected to it."""

import base64
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import soundfile
import soxr
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.live import LiveServer, recording, wren_serve

SPEECH = recording("en/quick_brown_fox")
GRACE_S = 1.0
SLACK_S = 4.0
"""For the engine to close and the interpreter to end, on a machine that does other things too."""


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[LiveServer]:
    with wren_serve(tmp_path / "log", {"WREN_MODEL": "whisper-tiny.en", "WREN_DRAIN_S": "1"}) as server:
        yield server


def test_streams_are_told_their_last_words(doomed: LiveServer) -> None:
    rate, audio = 24_000, _speech(24_000)
    url, headers = doomed.url.replace("http", "ws"), {"authorization": f"Bearer {doomed.key}"}
    listen = f"{url}/v1/listen?encoding=linear16&sample_rate={rate}&vad_events=true"
    with (
        connect(listen, additional_headers=headers) as deepgram,
        connect(f"{url}/v1/realtime?intent=transcription", additional_headers=headers) as realtime,
    ):
        audio_format = {"type": "audio/pcm", "rate": rate}
        session = {"type": "transcription", "audio": {"input": {"format": audio_format}}}
        realtime.send(json.dumps({"type": "session.update", "session": session}))
        realtime.send(json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()}))
        deepgram.send(audio)
        _await(deepgram, "SpeechStarted")  # both have arrived, each in one message
        _await(realtime, "input_audio_buffer.speech_started")
        os.kill(doomed.pid, signal.SIGTERM)
        (told, code), (events, other_code) = _rest(deepgram), _rest(realtime)
    assert (code, other_code) == (1012, 1012)
    texts = [one["channel"]["alternatives"][0]["transcript"] for one in told if one["type"] == "Results"]
    assert "brown fox" in " ".join(texts)
    assert told[-1]["type"] == "Metadata"
    completed = [one["transcript"] for one in events if one["type"].endswith("transcription.completed")]
    assert "brown fox" in " ".join(completed)
    deadline_s = time.monotonic() + 10
    while len(lines := _sessions(doomed.log)) < 2:  # a line is written once its client has been told
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert all(line["closed"].startswith("server") and line["variant"] and line["audio_s"] > 1 for line in lines)


def test_who_is_routed_here_meanwhile_is_served(doomed: LiveServer) -> None:
    with doomed.client() as client:
        assert client.get("/health/ready").status_code == 200
        assert _told_to_stop(doomed).json()["status"] == "stopping"
        with SPEECH.open("rb") as file:
            answer = client.post("/v1/audio/transcriptions", files={"file": file}, data={"model": "auto"})
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close", "a proxy would send its next request into a closing connection"


@pytest.mark.parametrize("path", ["/v1/listen", "/v1/realtime?intent=transcription"])
def test_a_new_stream_is_sent_to_another_server(path: str, doomed: LiveServer) -> None:
    _told_to_stop(doomed)
    headers = {"authorization": f"Bearer {doomed.key}"}
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(doomed.url.replace("http", "ws") + path, additional_headers=headers),
    ):
        pass
    assert refused.value.response.status_code == 503


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with wren_serve(tmp_path / "log", {"WREN_MODEL": "whisper-tiny.en", "WREN_DRAIN_S": "50"}) as server:
        _told_to_stop(server)
        os.kill(server.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + 20
        while _is_there(server):
            assert time.monotonic() < deadline_s


def test_what_runs_is_finished(doomed: LiveServer) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        with doomed.client() as client, SPEECH.open("rb") as file:
            answers.append(client.post("/v1/audio/transcriptions", files={"file": file}, data={"model": "auto"}))

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    time.sleep(0.05)
    os.kill(doomed.pid, signal.SIGTERM)
    for client in clients:
        client.join(timeout=60)
    assert [answer.status_code for answer in answers] == [200] * 8
    assert doomed.process.wait(timeout=10) == 0


@pytest.fixture
def hurried(tmp_path: Path) -> Iterator[LiveServer]:
    with wren_serve(tmp_path / "log", {"WREN_MODEL": "whisper-tiny.en", "WREN_GRACE_S": str(GRACE_S)}) as server:
        yield server


def test_an_upload_that_stalls_is_not_waited_for_longer_than_the_grace(hurried: LiveServer) -> None:
    port = httpx.URL(hurried.url).port
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: wren\r\nAuthorization: Bearer {hurried.key}\r\n"
        "Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 100000\r\n\r\n--B\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head.encode())
        time.sleep(0.05)
        took_s = _ended(hurried)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"server_stopping" in answer
    assert GRACE_S <= took_s < GRACE_S + SLACK_S


def test_streams_that_are_not_done_in_the_grace_are_told_to_go_elsewhere(hurried: LiveServer) -> None:
    rate, audio = 16_000, _speech(16_000) * 60
    url, headers = hurried.url.replace("http", "ws"), {"authorization": f"Bearer {hurried.key}"}
    listen = f"{url}/v1/listen?encoding=linear16&sample_rate={rate}&vad_events=true"
    with (
        connect(listen, additional_headers=headers) as deepgram,
        connect(f"{url}/v1/realtime?intent=transcription", additional_headers=headers) as realtime,
    ):
        appended = {"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()}
        realtime.send(json.dumps(appended))
        deepgram.send(audio)
        _await(deepgram, "SpeechStarted")
        _await(realtime, "input_audio_buffer.speech_started")
        took_s = _ended(hurried)
        (told, code), (_, other_code) = _rest(deepgram), _rest(realtime)
    assert (code, other_code) == (1012, 1012)
    assert "Metadata" not in [one["type"] for one in told], "it was not heard to its end"
    assert took_s < GRACE_S + SLACK_S
    lines = _sessions(hurried.log)
    assert [line["status"] for line in lines] == [1012, 1012]
    assert all(line["closed"].startswith("server: The server") for line in lines)


def _ended(server: LiveServer) -> float:
    """Seconds from the signal to the end of the process, which calls it a good one."""
    began_s = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    assert server.process.wait(timeout=30) == 0
    return time.monotonic() - began_s


def _told_to_stop(server: LiveServer) -> httpx.Response:
    """What readiness says once the signal has come through."""
    os.kill(server.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + 5
    while (health := httpx.get(f"{server.url}/health/ready")).status_code != 503:
        assert time.monotonic() < deadline_s
    return health


def _is_there(server: LiveServer) -> bool:
    try:
        return httpx.get(f"{server.url}/health/live").is_success
    except httpx.TransportError:
        return False


def _speech(rate: int) -> bytes:
    samples, own_rate = soundfile.read(SPEECH, dtype="float32")
    return (soxr.resample(samples, own_rate, rate) * 32_767).astype("<i2").tobytes()


def _await(connection: ClientConnection, kind: str) -> None:
    while json.loads(connection.recv(timeout=30))["type"] != kind:
        pass


def _rest(connection: ClientConnection) -> tuple[list[dict], int]:
    """What still comes, and the code that it ends with."""
    messages = []
    try:
        while True:
            messages.append(json.loads(connection.recv(timeout=30)))
    except ConnectionClosed as closed:
        return messages, closed.rcvd.code if closed.rcvd else 0


def _sessions(log: Path) -> list[dict]:
    return [line for line in map(_line, log.read_text().splitlines()) if line.get("event") == "session"]


def _line(text: str) -> dict:
    try:
        return json.loads(text)
    except ValueError:
        return {}
