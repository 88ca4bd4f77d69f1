import json
from pathlib import Path

import pytest

from service.cli.outputs import STDIN, Format, Job, plan_jobs, shown


def names(jobs: tuple[Job, ...]) -> list[str]:
    return [job.target.name if job.target else "-" for job in jobs]


@pytest.mark.parametrize(
    ("output", "name"),
    [
        (Format.TEXT, "talk.txt"),
        (Format.JSON, "talk.json"),
        (Format.VERBOSE_JSON, "talk.json"),
        (Format.SRT, "talk.srt"),
        (Format.VTT, "talk.vtt"),
    ],
)
def test_transcript_has_the_recordings_name_and_the_formats_suffix(output: Format, name: str, tmp_path: Path) -> None:
    assert names(plan_jobs([Path("a/talk.mp3")], tmp_path, output)) == [name]


def test_recordings_of_one_stem_keep_their_suffix(tmp_path: Path) -> None:
    sources = [Path("talk.mp3"), Path("talk.wav"), Path("other.wav")]
    assert names(plan_jobs(sources, tmp_path, Format.TEXT)) == ["talk.mp3.txt", "talk.wav.txt", "other.txt"]


def test_two_recordings_never_write_one_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"talk\.wav\.txt"):
        plan_jobs([Path("a/talk.wav"), Path("b/talk.wav")], tmp_path, Format.TEXT)


def test_standard_input_is_named_in_the_folder(tmp_path: Path) -> None:
    assert names(plan_jobs([STDIN], tmp_path, Format.SRT)) == ["stdin.srt"]


@pytest.mark.parametrize("output", [Format.SRT, Format.VTT])
def test_subtitles_of_several_recordings_need_a_folder(output: Format) -> None:
    assert names(plan_jobs([Path("a.wav")], None, output)) == ["-"]
    with pytest.raises(ValueError, match="--output-dir"):
        plan_jobs([Path("a.wav"), Path("b.wav")], None, output)


def test_one_recordings_text_is_shown_as_it_is() -> None:
    job = Job(Path("a.wav"), None)
    assert shown(job, "Hello.\n", Format.TEXT, several=False) == "Hello.\n"
    assert shown(job, '{"text":"Hello."}', Format.JSON, several=False) == '{"text":"Hello."}\n'
    assert shown(job, "", Format.TEXT, several=False) == ""


def test_of_several_recordings_each_line_names_its_own() -> None:
    job = Job(Path("a.wav"), None)
    assert shown(job, "Hello.\n", Format.TEXT, several=True) == "a.wav: Hello.\n"
    line = shown(job, '{"text":"Grüße"}', Format.JSON, several=True)
    assert json.loads(line) == {"file": "a.wav", "text": "Grüße"}
    assert line.count("\n") == 1
