"""`wren listen` as a user runs it: real models, real speech, and a real server."""

import json
import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile

from service.audio.sample import SAMPLE
from tests.cli.running import ROOT, TIMEOUT_S, WREN, clean_env, wren
from tests.live import LiveServer, wren_serve

WORDS = "the quick brown fox jumps over the lazy dog"
RATE = 16_000
ERASED = "\x1b[2K"
"""How a terminal is told to empty the line."""
STYLE = r"\x1b\[(?!2K)[?0-9;]*[a-zA-Z]"


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def headerless() -> bytes:
    samples, rate = soundfile.read(SAMPLE, dtype="int16")
    assert rate == RATE
    data: bytes = samples.tobytes()
    return data


@contextmanager
def listening(*arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command with its standard input held open. Whatever happens, it is gone afterwards."""
    with subprocess.Popen(
        [*WREN, "listen", "-", *map(str, arguments)],
        cwd=ROOT,
        env=clean_env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def send(process: subprocess.Popen[bytes], audio: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(audio)


def test_a_recording_becomes_text() -> None:
    done = wren("listen", SAMPLE, "--fast")
    assert (done.returncode, done.stderr) == (0, "")
    assert plain(done.stdout) == WORDS
    assert done.stdout.endswith("\n")


def test_a_recording_is_played_with_interim_results() -> None:
    done = wren("listen", SAMPLE, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "speech_started"
    assert kinds.count("interim") >= 2
    finals = [event for event in events if event["type"] == "final"]
    assert plain(" ".join(final["text"] for final in finals)) == WORDS
    assert finals[0]["words"][0]["word"] == "The"
    assert all(event["start"] <= event["end"] for event in events)


def test_standard_input_is_a_container_or_headerless() -> None:
    contained = wren("listen", "-", stdin=SAMPLE.read_bytes())
    bare = wren("listen", "-", "--rate", str(RATE), stdin=headerless())
    assert plain(contained.stdout) == plain(bare.stdout) == WORDS


def test_times_stand_before_what_was_said() -> None:
    done = wren("listen", SAMPLE, "--fast", "--times")
    assert re.fullmatch(r"\[0\.00-\d\.\d\d\] The quick .*\n", done.stdout)


def test_an_interrupt_ends_the_audio_and_what_was_said_is_told() -> None:
    with listening("--rate", str(RATE), "--json") as process:
        send(process, headerless()[: RATE * 3])
        assert b"speech_started" in first_line(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, err) == (0, b"")
        assert "quick brown" in plain(json.loads(out.splitlines()[-1])["text"])


def test_when_nobody_reads_on_it_ends_quietly() -> None:
    with listening("--rate", str(RATE), "--json") as process:
        send(process, headerless())
        assert first_line(process)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        send(process, b"\0\0" * RATE)
        assert process.wait(TIMEOUT_S) == 1
        assert b"Traceback" not in process.stderr.read()


def test_on_a_terminal_the_open_segment_is_shown_and_taken_back() -> None:
    reading, terminal = pty.openpty()
    env = clean_env() | {"TERM": "xterm", "COLUMNS": "30"}
    with subprocess.Popen([*WREN, "listen", str(SAMPLE)], cwd=ROOT, env=env, stdout=terminal) as process:
        os.close(terminal)
        shown = b""
        try:
            while data := os.read(reading, 4096):
                shown += data
        except OSError:  # how a terminal says that the other side has gone
            assert process.wait(TIMEOUT_S) == 0
    os.close(reading)
    *previews, final = [line for line in re.sub(STYLE, "", shown.decode()).split(ERASED) if plain(line)]
    assert len(previews) > 1
    assert all(len(preview.strip()) <= 30 for preview in previews)
    assert plain(final) == WORDS
    assert "\r\n" in final


def test_what_is_no_recording_is_one_line(tmp_path: Path) -> None:
    (broken := tmp_path / "broken.wav").write_bytes(b"this is not a recording at all")
    for done in (
        wren("listen", broken),
        wren("listen", tmp_path / "none.wav"),
        wren("listen", "-", stdin=b"this is not a recording either" * 1000),
        wren("listen", SAMPLE, "--language", "klingonese"),
    ):
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("wren: ")
        assert done.stderr.count("\n") == 1


def test_a_missing_model_is_a_line_with_the_command_to_get_it(tmp_path: Path) -> None:
    done = wren("listen", SAMPLE, "--store", tmp_path, "--model", "whisper-base:int8")
    assert done.returncode == 1
    assert f"wren models pull whisper-base silero-vad --store {tmp_path}" in done.stderr


@pytest.mark.skipif(find_spec("sounddevice") is not None, reason="the library is installed here")
@pytest.mark.parametrize("arguments", [(), ("--list-devices",)])
def test_without_its_library_the_microphone_says_what_to_install(arguments: tuple[str, ...]) -> None:
    done = wren("listen", *arguments)
    assert done.returncode == 1
    assert "wren-asr[microphone]" in done.stderr
    assert "PortAudio" in done.stderr


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Of one stream at a time."""
    settings = {"WREN_MODEL": "whisper-tiny.en", "WREN_MAX_STREAMS": "1"}
    with wren_serve(tmp_path_factory.mktemp("listen") / "log", settings) as server:
        yield server


def test_a_server_hears_a_recording_as_the_command_does(small_server: LiveServer) -> None:
    there = wren("listen", SAMPLE, "--json", "--server", small_server.url, "--key", small_server.key)
    assert (there.returncode, there.stderr) == (0, "")
    events = [json.loads(line) for line in there.stdout.splitlines()]
    assert {"speech_started", "interim", "final"} <= {event["type"] for event in events}
    finals = [event for event in events if event["type"] == "final"]
    assert plain(" ".join(final["text"] for final in finals)) == WORDS
    assert finals[0]["words"][-1]["word"] == "dog."


def test_a_server_gets_standard_input_as_it_is(small_server: LiveServer) -> None:
    to = ("--server", small_server.url, "--key", small_server.key)
    assert plain(wren("listen", "-", *to, stdin=SAMPLE.read_bytes()).stdout) == WORDS
    assert plain(wren("listen", "-", *to, "--rate", str(RATE), stdin=headerless()).stdout) == WORDS


def test_what_a_server_refuses_is_one_line(small_server: LiveServer) -> None:
    to = ("--server", small_server.url.removeprefix("http://"), "--key", small_server.key)
    with listening(*to, "--rate", str(RATE), "--json") as process:
        send(process, headerless())
        assert first_line(process)
        refused = [wren("listen", SAMPLE, *to)]
    refused.append(wren("listen", SAMPLE, "--server", small_server.url, "--key", "wrong"))
    refused.append(wren("listen", SAMPLE, *to, "--model", "no-such-model"))
    refused.append(wren("listen", "-", *to, stdin=b"this is no recording at all" * 1000))
    for done, expected in zip(refused, ("live streams are open", "key", "no-such-model", "decode"), strict=True):
        assert done.returncode == 1
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1


def test_where_no_server_answers_it_says_what_to_do() -> None:
    done = wren("listen", SAMPLE, "--server", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "Start it (`wren serve`)" in done.stderr
    assert done.stderr.count("\n") == 1
