"""What is logged, and what never is: by a process of its own, and by a server that logs all that it can."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.live import LiveServer, recording, wren_serve

SCRIPT = """
import logging, structlog
from service import logs
logs.configure(log_format="{form}", level="info")
structlog.stdlib.get_logger("wren").info("request", status=200)
logging.getLogger("plain").warning("from the standard library")
logging.getLogger("plain").debug("too fine")
"""


def lines(form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(form=form)], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_lines_carry_fields_of_both_kinds_of_logger() -> None:
    first, second = (json.loads(line) for line in lines("json"))
    assert (first["event"], first["status"], first["level"], first["logger"]) == ("request", 200, "info", "wren")
    assert (second["event"], second["level"]) == ("from the standard library", "warning")


@pytest.mark.parametrize("form", ["console", "json"])
def test_tracebacks_do_not_show_what_variables_hold(form: str) -> None:
    script = f"""
import structlog
from service import logs
logs.configure(log_format="{form}", level="info")
key = "SECRET".lower()
try:
    1 / (len(key) - len(key))
except ZeroDivisionError:
    structlog.stdlib.get_logger("wren").exception("it failed")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "ZeroDivisionError" in done.stderr
    assert "secret" not in done.stderr


def test_console_lines_are_for_people() -> None:
    first, second = lines("console")
    assert "request" in first
    assert "status=200" in first
    assert "from the standard library" in second


def test_handshakes_are_not_logged_with_the_key_in_their_query() -> None:
    script = """
import logging
from service import logs
logs.configure(log_format="json", level="info")
logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "1.2.3.4", "/v1/realtime?api_key=SECRET")
logging.getLogger("uvicorn.error").info("Started")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "SECRET" not in done.stderr
    assert "Started" in done.stderr


def test_libraries_do_not_debug() -> None:
    script = """
import logging
from service import logs
logs.configure(log_format="json", level="debug")
logging.getLogger("uvicorn.error").debug("< TEXT SECRET")
logging.getLogger("service.engine.desk").debug("ours")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "SECRET" not in done.stderr
    assert "ours" in done.stderr


KEY = "canary-key-1"
PROMPT, HOTWORD, FILE = "canaryprompt", "canaryhotword", "canaryfile.wav"
FOX = recording("en/quick_brown_fox")
SAID = ("brown", "jumps", "lazy")
SECRETS = ("canary", *SAID)


@pytest.fixture(scope="module")
def debugging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    settings = {"WREN_API_KEYS": f"live-key,{KEY}", "WREN_LOG_LEVEL": "debug", "WREN_MODEL": "whisper-tiny.en"}
    with wren_serve(tmp_path_factory.mktemp("debugging") / "log", settings) as server:
        yield server


def test_requests_leave_no_text_names_or_keys_in_the_log(debugging: LiveServer) -> None:
    with httpx.Client(base_url=debugging.url, timeout=60) as client:
        audio = FOX.read_bytes()
        form = {"model": "auto", "prompt": PROMPT, "hotwords": HOTWORD, "response_format": "json"}
        for stream in ("false", "true"):
            answer = client.post(
                "/v1/audio/transcriptions",
                data={**form, "stream": stream},
                files={"file": (FILE, audio)},
                headers={"authorization": f"Bearer {KEY}"},
            )
            assert "brown fox" in answer.text
        asked = {"keyterm": HOTWORD, "token": KEY}
        assert "brown fox" in client.post("/v1/listen", params=asked, content=audio).text
        # What goes wrong is told to the client alone.
        bearer = {"authorization": f"Bearer {KEY}"}
        damaged = {"file": (FILE, b"canary " * 1000)}
        for data, files, headers in (
            (form, damaged, bearer),
            ({**form, "response_format": "canaryformat"}, damaged, bearer),
            ({**form, "model": "canarymodel"}, damaged, bearer),
            (form, damaged, {"authorization": "Bearer canarywrong"}),
        ):
            answer = client.post("/v1/audio/transcriptions", data=data, files=files, headers=headers)
            assert 400 <= answer.status_code < 500
        malformed = {"content-type": "multipart/form-data; boundary=canary", **bearer}
        for content, kind in (
            (b"--canary\r\ncanary", malformed),
            (b'{"canary', {**bearer, "content-type": "application/json"}),
        ):
            for path in ("/v1/audio/transcriptions", "/v1/precision", "/v1/listen"):
                assert client.post(path, content=content, headers=kind).status_code >= 400
    assert {"request"} <= _events(debugging)
    assert not _told(debugging)


def test_live_streams_leave_no_text_or_keys_in_the_log(debugging: LiveServer) -> None:
    url = debugging.url.replace("http", "ws")
    audio = (soundfile.read(FOX)[0] * 32_767).astype("<i2").tobytes()
    listen = f"{url}/v1/listen?encoding=linear16&sample_rate=16000&interim_results=true&keyterm={HOTWORD}"
    opened: list[tuple[str, list[str], dict[str, str]]] = [
        (f"{listen}&token={KEY}", [], {}),
        (listen, ["token", KEY], {}),
        (listen, [], {"authorization": f"Token {KEY}"}),
    ]
    for address, protocols, headers in opened:
        with connect(address, additional_headers=headers, subprotocols=protocols or None) as connection:
            connection.send(audio)
            connection.send('{"type": "canarytype"}')
            connection.send('{"type": "CloseStream"}')
            assert "brown fox" in " ".join(str(message) for message in connection)
    realtime = f"{url}/v1/realtime?intent=transcription"
    insecure = ["realtime", f"openai-insecure-api-key.{KEY}"]
    with connect(realtime, subprotocols=insecure) as connection:
        heard = {"format": {"type": "audio/pcm", "rate": 24_000}, "transcription": {"prompt": PROMPT}}
        session = {"type": "transcription", "audio": {"input": heard}}
        for event in (
            {"type": "session.update", "session": session},
            {"type": "canarytype", "canary": "canary"},
            {"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()},
            {"type": "input_audio_buffer.commit"},
        ):
            connection.send(json.dumps(event))
        while not json.loads(told := connection.recv(timeout=30))["type"].endswith("transcription.completed"):
            pass
        assert json.loads(told)["transcript"]
    for address, protocols in (
        (f"{realtime}&api_key=canarywrong", []),
        (realtime, ["realtime", "openai-insecure-api-key.canarywrong"]),
        (f"{listen}&token=canarywrong", []),
        (f"{listen}&canaryoption=1&model=canarymodel&token={KEY}", []),
    ):
        with suppress(InvalidStatus, ConnectionClosed), connect(address, subprotocols=protocols or None) as connection:
            list(connection)
    assert {"session"} <= _events(debugging)
    assert not _told(debugging)


def _told(server: LiveServer) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if any(word in line.lower() for word in SECRETS)]


def _events(server: LiveServer) -> set[str]:
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return {line["event"] for line in lines}
