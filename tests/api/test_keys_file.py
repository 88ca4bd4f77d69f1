from pathlib import Path

import pytest

from service.api.keys_file import KeysFileInvalid, digest_of, read_keys

TABLE = f'[[key]]\nname = "a"\ndigest = "{digest_of("k")}"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[key]", "Expected"),
        ("[[keys]]", "keys"),
        (f"{TABLE}scopes = ['all']", "scopes"),
        (f"{TABLE}colour = 1", "colour"),
        (TABLE.replace("digest = ", "digest = 'x' #"), "digest"),
        (TABLE.replace('"a"', '"a b"'), "name"),
        (TABLE * 2, "same name"),
        (f"{TABLE}requests_per_minute = 0.5", "requests_per_minute"),
        (f"{TABLE}audio_seconds_per_minute = inf", "audio_seconds_per_minute"),
        (f"{TABLE}concurrency = 0", "concurrency"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_the_place(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(KeysFileInvalid, match=reason):
        read_keys(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysFileInvalid, match="No such file"):
        read_keys(tmp_path / "gone.toml")


def test_a_key_without_scopes_transcribes(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(TABLE)
    assert read_keys(path)[0].scopes == {"transcribe"}
