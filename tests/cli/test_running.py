"""The commands with the real engine, real models and real speech, as processes of their own.

The store is that of the environment; `make test` fills it.
"""

import json
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from service.audio.sample import SAMPLE
from tests.cli.running import ROOT, TIMEOUT_S, WREN, clean_env, wren

WORDS = "the quick brown fox jumps over the lazy dog"


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server and the request that it says to try. Whatever happens, it is gone afterwards."""
    command = [*WREN, "serve", "--port", "0", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        watchdog = threading.Timer(TIMEOUT_S, server.kill)
        watchdog.start()
        try:
            assert server.stdout is not None
            line = next((line.strip() for line in server.stdout if "curl " in line), "")
            yield server, line
        finally:
            watchdog.cancel()
            server.kill()


def test_printed_request_works_as_it_stands_and_a_signal_ends_the_server() -> None:
    with serving() as (server, line):
        done = subprocess.run(
            shlex.split(line), cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
        assert plain(json.loads(done.stdout)["text"]) == WORDS
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=TIMEOUT_S)
        assert server.returncode == 0
        assert "Traceback" not in errors


def test_interrupt_ends_the_server_in_good_order() -> None:
    with serving() as (server, _):
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=TIMEOUT_S)
        assert server.returncode == 0
        assert "Traceback" not in errors


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("transcribe", str(SAMPLE))])
def test_missing_model_is_a_line_with_the_command_to_get_it(command: tuple[str, ...], tmp_path: Path) -> None:
    done = wren(*command, "--store", tmp_path, "--model", "whisper-base:int8")
    assert done.returncode == 1
    assert f"wren models pull whisper-base silero-vad --store {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr


def test_recording_becomes_text() -> None:
    done = wren("transcribe", SAMPLE)
    assert done.returncode == 0, done.stderr
    assert plain(done.stdout) == WORDS


def test_standard_input_becomes_json_with_words() -> None:
    done = wren("transcribe", "-", "--format", "verbose_json", "--words", stdin=SAMPLE.read_bytes())
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert plain(" ".join(word["word"] for word in body["words"])) == WORDS


def test_headerless_audio_is_taken_as_described() -> None:
    samples, rate = soundfile.read(SAMPLE, dtype="int16")
    done = wren("transcribe", "-", "--encoding", "linear16", "--sample-rate", str(rate), stdin=samples.tobytes())
    assert plain(done.stdout) == WORDS


def test_broken_recording_fails_and_the_next_is_still_done(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"this is not a recording at all")
    done = wren("transcribe", broken, SAMPLE, "--output-dir", tmp_path, "--format", "srt")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"wren: {broken}: ")
    assert "quick brown fox" in (tmp_path / "sample.srt").read_text()


def test_wrong_language_is_one_line() -> None:
    done = wren("transcribe", SAMPLE, "--language", "klingonese")
    assert done.returncode == 1
    assert "language" in done.stderr
    assert done.stderr.count("\n") == 1


def test_doctor_finds_this_installation_well() -> None:
    done = wren("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    (self_test,) = [finding for finding in report["findings"] if finding["point"] == "self-test"]
    assert self_test["state"] == "ok"


def test_doctor_without_models_says_what_to_do(tmp_path: Path) -> None:
    done = wren("doctor", "--store", tmp_path)
    assert done.returncode == 1
    assert f"wren models pull whisper-tiny.en --store {tmp_path}" in done.stdout
    assert f"wren models pull silero-vad --store {tmp_path}" in done.stdout
    assert "Traceback" not in done.stderr
