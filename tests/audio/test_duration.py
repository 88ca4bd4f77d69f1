from pathlib import Path

import pytest

from service.audio.duration import headed_duration_s, promised_duration_s
from service.audio.sample import SAMPLE
from tests.audio.clips import Recipe, encode


def test_wav_promises_what_it_holds() -> None:
    assert promised_duration_s(SAMPLE) == pytest.approx(2.89, abs=0.01)


@pytest.mark.parametrize(
    "recipe",
    [Recipe("mp4", "aac"), Recipe("matroska", "libopus", rate=48_000), Recipe("mp3", "libmp3lame")],
    ids=lambda recipe: recipe.muxer,
)
def test_containers_promise_about_what_they_hold(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(encode(recipe, seconds=2))
    assert promised_duration_s(tmp_path / "file") == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("content", [b"", b"no recording", b"OggS", b"\x1a\x45\xdf\xa3"])
def test_what_is_no_recording_promises_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert promised_duration_s(tmp_path / "file") is None


def test_missing_file_promises_nothing(tmp_path: Path) -> None:
    assert promised_duration_s(tmp_path / "none") is None


def test_a_header_is_read_from_bytes_as_from_a_file() -> None:
    assert headed_duration_s(SAMPLE.read_bytes()) == headed_duration_s(SAMPLE) == pytest.approx(2.89, abs=0.01)
    assert headed_duration_s(b"no header at all") is None
