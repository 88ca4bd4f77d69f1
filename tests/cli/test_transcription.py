import asyncio
import json
from pathlib import Path

import pytest

from service.api import forms
from service.audio.sample import SAMPLE
from service.cli.outputs import Format, plan_jobs
from service.cli.transcription import Transcription
from service.engine.fake import FakeEngine
from service.errors import UndecodableAudio
from service.recognition.types import Language, Segment, Transcript

SEGMENTS = (
    Segment(0.0, 1.5, " Hello.", (), 0.0, -0.2, 1.0, 0.01),
    Segment(1.5, 3.0, " Bye.", (), 0.0, -0.2, 1.0, 0.01),
)
TRANSCRIPT = Transcript("Hello. Bye.", SEGMENTS, (Language("en", 1.0),), 3.0, warnings=("it is short",))


def run(
    engine: FakeEngine, *files: Path, output: Format = Format.TEXT, folder: Path | None = None, **fields: str
) -> int:
    form = forms.parse([("model", "auto"), ("response_format", output.value), *fields.items()])
    return asyncio.run(
        Transcription(engine, form, task="transcribe", output=output).run(plan_jobs(files, folder, output))
    )


def test_only_the_text_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FakeEngine(TRANSCRIPT), SAMPLE) == 0
    out, err = capsys.readouterr()
    assert out == "Hello. Bye.\n"
    assert err == f"wren: {SAMPLE}: it is short\n"


def test_engine_is_asked_for_what_the_options_say() -> None:
    engine = FakeEngine(TRANSCRIPT)
    run(engine, SAMPLE, language="de", prompt="Grüße", hotwords="Wren, Zaunkönig", timestamp_granularities="word")
    (request,) = engine.requests
    assert request.audio == SAMPLE
    assert (request.options.language, request.options.prompt) == ("de", "Grüße")
    assert request.options.hotwords == ("Wren", "Zaunkönig")
    assert request.options.word_times


def test_failed_recording_is_named_and_the_others_done(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(FakeEngine(TRANSCRIPT), tmp_path / "none.wav", SAMPLE, tmp_path) == 2
    out, err = capsys.readouterr()
    assert out == f"{SAMPLE}: Hello. Bye.\n"
    assert f"wren: {tmp_path / 'none.wav'}: No such file or directory\n" in err
    assert f"wren: {tmp_path}: Is a directory\n" in err


def test_what_the_engine_refuses_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    error = UndecodableAudio(container="wav", codec="qdesign", reason="nobody knows it")
    assert run(FakeEngine(error=error), SAMPLE) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"wren: {SAMPLE}: {error}\n"


def test_folder_gets_a_file_a_recording_and_the_screen_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(FakeEngine(TRANSCRIPT), SAMPLE, output=Format.SRT, folder=tmp_path / "new" / "folder") == 0
    assert capsys.readouterr().out == ""
    subtitles = (tmp_path / "new" / "folder" / "sample.srt").read_text()
    assert subtitles.startswith("1\n00:00:00,000 --> 00:00:01,500\nHello.\n\n2\n")


def test_several_recordings_as_json_are_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    run(FakeEngine(TRANSCRIPT), SAMPLE, SAMPLE, output=Format.VERBOSE_JSON)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == [str(SAMPLE)] * 2
    assert lines[0]["segments"][1]["end"] == 3.0


def test_engine_is_closed_when_all_is_done() -> None:
    engine = FakeEngine(TRANSCRIPT)
    run(engine, SAMPLE)
    assert not engine.running
