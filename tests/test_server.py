"""`wren serve` with real models, asked over HTTP."""

import json
import socket
from functools import cache
from io import BytesIO

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from tests.api.sdk import VERSIONS, check_names, run_checks
from tests.live import LiveServer, recording

FOX = recording("en/quick_brown_fox")
RATE = 16_000


def wav(samples: npt.NDArray[np.float32], *, rate: int = RATE) -> bytes:
    out = BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def ask(server: LiveServer, audio: bytes, *, path: str = "transcriptions", **fields: str) -> httpx.Response:
    with server.client() as client:
        form = {"model": "auto", **fields}
        return client.post(f"/v1/audio/{path}", data=form, files={"file": ("speech.wav", audio)})


def words_of(text: str) -> list[str]:
    return "".join(letter for letter in text.lower() if letter.isalnum() or letter == " ").split()


@cache
def outcomes(version: str, server: LiveServer) -> dict[str, str | None]:
    return run_checks("sdk_checks", version, f"{server.url}/v1", server.key, str(FOX), "fox")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", check_names("sdk_checks"))
def test_sdk(version: str, name: str, server: LiveServer) -> None:
    assert outcomes(version, server)[name] is None, outcomes(version, server)[name]


@pytest.mark.parametrize("model", ["whisper-tiny.en:fp32", "whisper-tiny.en:int8", "moonshine-tiny", "whisper-base"])
def test_every_model_hears_the_fox(model: str, server: LiveServer) -> None:
    answer = ask(server, FOX.read_bytes(), model=model)
    assert answer.status_code == 200, answer.text
    expected = words_of(FOX.with_suffix(".txt").read_text())
    assert words_of(answer.json()["text"]) == expected
    assert answer.headers["x-wren-variant"].startswith(model)


def test_silence_is_empty_in_every_format(server: LiveServer) -> None:
    silence = wav(np.zeros(3 * RATE, np.float32))
    assert ask(server, silence).json()["text"] == ""
    assert ask(server, silence, response_format="text").text == ""
    assert ask(server, silence, response_format="srt").text == ""
    assert ask(server, silence, response_format="vtt").text == "WEBVTT\n\n"
    verbose = ask(server, silence, response_format="verbose_json").json()
    assert (verbose["text"], verbose["segments"], verbose["duration"]) == ("", [], 3.0)


def test_silence_ends_a_stream_with_empty_text(server: LiveServer) -> None:
    answer = ask(server, wav(np.zeros(RATE, np.float32)), stream="true")
    (event,) = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert (event["type"], event["text"]) == ("transcript.text.done", "")


def test_upload_that_outgrows_memory_is_transcribed_from_disk(server: LiveServer) -> None:
    samples, rate = soundfile.read(FOX, dtype="float32")
    padded = wav(np.concatenate([samples, np.zeros(40 * rate, np.float32)]), rate=rate)
    assert len(padded) > 2**20
    assert "fox" in ask(server, padded).json()["text"].lower()


@pytest.mark.parametrize("model", ["whisper-tiny.en", "moonshine-tiny"])
def test_no_segment_spans_a_silence_and_the_stages_are_the_whole(server: LiveServer, model: str) -> None:
    samples, rate = soundfile.read(FOX, dtype="float32")
    gaps = wav(np.concatenate([samples, np.zeros(20 * rate, np.float32), samples]), rate=rate)
    reply = ask(server, gaps, model=model, response_format="verbose_json")
    first, second = reply.json()["segments"]
    assert first["end"] < len(samples) / rate + 0.1
    assert second["start"] > len(samples) / rate + 19.9
    stages = dict(stage.strip().split(";dur=") for stage in reply.headers["server-timing"].split(","))
    assert sum(map(float, stages.values())) - 2 * float(stages["total"]) == pytest.approx(0, abs=25)


def test_headerless_audio_is_read_as_the_fields_say(server: LiveServer) -> None:
    samples, rate = soundfile.read(FOX, dtype="float32")
    fields = {"encoding": "linear16", "sample_rate": str(rate)}
    raw = (samples * 32_767).astype("<i2").tobytes()
    assert "fox" in ask(server, raw, **fields).json()["text"].lower()


def test_other_language_is_detected_and_translated(server: LiveServer) -> None:
    french = recording("fr/bonjour_monde").read_bytes()
    spoken = ask(server, french, model="whisper-base", response_format="verbose_json").json()
    assert (spoken["language"], spoken["task"]) == ("french", "transcribe")
    assert "monde" in spoken["text"].lower()
    english = ask(server, french, path="translations", model="whisper-base", response_format="verbose_json").json()
    assert (english["language"], english["task"]) == ("english", "translate")
    assert "hello" in english["text"].lower()


def test_english_model_refuses_another_language(server: LiveServer) -> None:
    answer = ask(server, FOX.read_bytes(), model="whisper-tiny.en", language="de")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "language"


@pytest.mark.parametrize(
    ("audio", "status", "code"),
    [
        (b"", 400, "empty_audio"),
        (b"this is not a recording " * 50, 400, "undecodable_audio"),
        (wav(np.zeros(0, np.float32)), 400, "empty_audio"),
        (wav(np.zeros(61 * RATE, np.float32)), 413, "audio_too_long"),
        (bytes(9 * 2**20), 413, "file_too_large"),
    ],
    ids=["empty", "text", "header alone", "too long", "too large"],
)
@pytest.mark.parametrize("stream", ["false", "true"])
def test_unusable_audio_is_a_clear_error(audio: bytes, status: int, code: str, stream: str, server: LiveServer) -> None:
    answer = ask(server, audio, stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_client_that_leaves_does_no_harm(server: LiveServer) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nauto\r\n'
    body += (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + FOX.read_bytes()
        + b"\r\n--B--\r\n"
    )
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: wren\r\n"
        f"Authorization: Bearer {server.key}\r\n"
        f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    port = httpx.URL(server.url).port
    for sent in (body, body[:-1000]):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head.encode() + sent)
    assert ask(server, FOX.read_bytes()).status_code == 200


def test_request_is_one_json_line_in_the_log(server: LiveServer) -> None:
    answer = ask(server, FOX.read_bytes())
    wanted = answer.headers["x-request-id"]
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("request_id") == wanted]
    assert line["status"] == 200
    assert line["variant"] == answer.headers["x-wren-variant"]
    assert {"upload_ms", "decode_ms", "total_ms"} <= set(line)
