import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import get_args
from urllib.parse import parse_qsl

import pytest

from service.api.deepgram_options import parse
from service.audio.types import RawEncoding, RawFormat, VadOptions
from service.cli.listening import engine_line, listen
from service.cli.remote_line import query_of, told_by
from service.cli.screen import Screen
from service.cli.spoken import Spoken, line_of, preview
from service.engine.fake import FakeEngine, model_info
from service.engine.fake_stream import Script
from service.engine.streaming import Final, Interim, SpeechStarted, SpeechStopped, StreamRequest
from service.errors import OptionError, Overloaded, RecognitionFailed, UndecodableAudio
from service.recognition.types import Options, Segment

HELLO = Segment(0.0, 1.5, " Hello.", (), 0.0, -0.2, 1.0, 0.01)
MANIFEST = model_info("fake", "fp32").manifest
INTERIM = Interim(0.0, 1.0, (HELLO,), "Hel", MANIFEST)
SCRIPT = Script(
    audio=(
        (SpeechStarted(0.1), INTERIM),
        (SpeechStopped(1.0), Final(0.0, 1.2, (HELLO,), "pause")),
        (Final(1.2, 1.3, (), "pause", failure=RecognitionFailed("it is not a number")),),
    )
)
REQUEST = StreamRequest(raw=RawFormat("linear16", 16_000))


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"\0\0" * 1600


def run(engine: FakeEngine, *, count: int = 3, as_json: bool = False, times: bool = False) -> Screen:
    screen = Screen(json=as_json, times=times)
    asyncio.run(listen(engine_line(engine, REQUEST), chunks(count), screen))
    return screen


def test_only_finals_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine(script=SCRIPT)
    screen = run(engine)
    out, err = capsys.readouterr()
    assert out == "Hello.\n"
    assert err.startswith("wren: 1.20 to 1.30 s: ")
    assert screen.failed == 1
    assert engine.streams[0].calls == ["feed", "feed", "feed", "finish"]
    assert engine.streams[0].left
    assert not engine.running


def test_json_tells_everything_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    run(FakeEngine(script=SCRIPT), as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == [
        "speech_started", "interim", "speech_stopped", "final", "final", "final",
    ]  # fmt: skip
    assert lines[1] == {"type": "interim", "start": 0.0, "end": 1.0, "text": "Hello.", "settled": "Hel"}
    assert "not a number" in lines[4]["error"]


def test_an_engine_that_refuses_is_closed(capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine(error=Overloaded("it holds no more", retry_after_s=1.0, cause="streams"))
    with pytest.raises(Overloaded):
        run(engine)
    assert not engine.running
    assert capsys.readouterr().out == ""


def test_a_stream_that_breaks_off_ends_the_audio() -> None:
    error = UndecodableAudio(container="wav", codec="qdesign", reason="nobody knows it")
    with pytest.raises(UndecodableAudio):
        run(FakeEngine(script=Script(audio=((error,),))), count=1000)


def test_audio_that_fails_is_told_after_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"\0\0"
        raise OSError(5, "Input/output error")

    engine = FakeEngine(script=Script(finish=(HELLO,)))
    screen = Screen(json=False, times=False)
    with pytest.raises(OSError, match="Input/output"):
        asyncio.run(listen(engine_line(engine, REQUEST), breaking(), screen))
    assert capsys.readouterr().out == "Hello.\n"


class Endless:
    """A line that tells something, and never ends. Interrupts come as it is told that no more audio does."""

    def __init__(self, interrupts: int) -> None:
        self._interrupts = interrupts

    async def feed(self, audio: bytes) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    async def finish(self) -> None:
        for _ in range(self._interrupts - 1):
            os.kill(os.getpid(), signal.SIGINT)

    async def told(self) -> AsyncIterator[Spoken]:
        yield Spoken(type="final", start=0.0, end=1.0, text="Hello.")
        await asyncio.Event().wait()


def test_a_second_interrupt_stops_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    @asynccontextmanager
    async def opening() -> AsyncIterator[Endless]:
        yield Endless(interrupts=2)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(listen(opening(), chunks(1), Screen(json=False, times=False)))
    assert capsys.readouterr().out == "Hello.\n"


def test_times_stand_before_the_text() -> None:
    final = Spoken(type="final", start=1.0, end=2.345, text="Hello.")
    assert line_of(final, times=True) == "[1.00-2.35] Hello."
    assert line_of(final, times=False) == "Hello."


@pytest.mark.parametrize(
    ("settled", "text", "width", "shown"),
    [("", "", 10, ""), ("One", "One two", 10, "One two"), ("One", "One two three", 9, "two three"),
     ("", "你好你好", 5, "你好"), ("One two", "One too three", 20, "One two three")],
)  # fmt: skip
def test_of_the_open_segment_the_end_is_shown(settled: str, text: str, width: int, shown: str) -> None:
    interim = Spoken(type="interim", start=0.0, end=1.0, text=text, settled=settled)
    assert preview(interim, width=width).plain == shown


def test_what_may_still_change_is_dim() -> None:
    interim = Spoken(type="interim", start=0.0, end=1.0, text="One two", settled="One")
    (span,) = preview(interim, width=80).spans
    assert (span.start, span.end, span.style) == (3, 7, "dim")


def test_a_server_is_asked_in_its_own_words() -> None:
    request = StreamRequest(
        "whisper-base",
        Options(language="de", hotwords=("Zaunkönig", "Wren")),
        RawFormat("mulaw", 8000, 2),
        VadOptions(silence_duration_ms=700),
    )
    assert query_of(request) == (
        "model=whisper-base&language=de&interim_results=true&vad_events=true&endpointing=700"
        "&keyterm=Zaunk%C3%B6nig&keyterm=Wren&encoding=mulaw&sample_rate=8000&channels=2"
    )
    assert "language=multi" in query_of(StreamRequest())
    assert "encoding" not in query_of(StreamRequest())


@pytest.mark.parametrize("encoding", get_args(RawEncoding))
def test_a_server_hears_the_encoding_that_was_meant_or_is_not_asked(encoding: RawEncoding) -> None:
    request = StreamRequest(raw=RawFormat(encoding, 16_000, 2))
    if encoding == "linear32":  # which is floating-point in the protocol
        with pytest.raises(OptionError, match="no stream of linear32"):
            query_of(request)
        return
    assert parse(parse_qsl(query_of(request))).raw() == request.raw


def test_what_a_server_tells_beyond_speech_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert told_by('{"type": "Metadata"}') is None
    error = {"type": "Error", "variant": "RecognitionFailed", "description": "It failed.", "message": "It failed."}
    assert told_by(json.dumps(error)) is None
    assert capsys.readouterr().err == "wren: It failed.\n"
