import json
from pathlib import Path

import pytest

from model_store.evaluate.datasets import digest, read, title
from model_store.evaluate.errors import DataError
from tests.evaluate.recordings import ENGLISH, common_voice_folder, librispeech_folder, manifest_folder, text, utterance


def test_folder_with_a_manifest_is_one_set(tmp_path: Path) -> None:
    found = read(manifest_folder(tmp_path / "mine"))
    assert [u.name for u in found] == [f"mine/{name.partition('/')[2]}.wav" for name in ENGLISH]
    assert [u.text for u in found] == [text(name) for name in ENGLISH]
    assert all(u.path.is_file() and u.lang == "en" and u.duration_s for u in found)


def test_folder_is_named_even_where_it_is_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(manifest_folder(tmp_path / "mine"))
    assert title(read(Path())) == title(read(Path("../mine"))) == "mine"


def test_subfolders_are_sets_of_which_some_can_be_picked(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        manifest_folder(tmp_path / name, "en/counting")
    assert title(read(tmp_path)) == "a+b+c"
    assert title(read(tmp_path, sets=["c", "a"])) == "c+a"
    with pytest.raises(DataError, match="no set 'd'; in it: a, b, c"):
        read(tmp_path, sets=["d"])


@pytest.mark.parametrize("below", [".", "test-clean", "test-clean/7", "test-clean/7/9"])
def test_librispeech_is_known_from_any_level(tmp_path: Path, below: str) -> None:
    data = librispeech_folder(tmp_path, "test-clean", *ENGLISH)
    found = read(data / below)
    assert [u.name for u in found] == [f"test-clean/7/9/7-9-000{index}.flac" for index in range(3)]
    assert found[0].text == text(ENGLISH[0]).upper()
    assert found[0].lang == "en"


def test_librispeech_of_several_subsets_has_a_set_each(tmp_path: Path) -> None:
    librispeech_folder(tmp_path, "test-other", "en/counting")
    data = librispeech_folder(tmp_path, "dev-clean", "en/counting")
    assert title(read(data)) == "dev-clean+test-other"
    assert title(read(tmp_path, sets=["test-other"])) == "test-other"


def test_common_voice_takes_the_test_set_and_the_language_of_the_locale(tmp_path: Path) -> None:
    data = common_voice_folder(tmp_path, "en/counting", "es/hola_mundo")
    found = read(data)
    assert [(u.name, u.lang) for u in found] == [("test/counting.wav", "en"), ("test/hola_mundo.wav", "es")]
    assert title(read(data, sets=["validated"])) == "validated"
    assert [u.lang for u in read(data, languages=["es"])] == ["es"]


def test_rows_without_a_reference_are_left_out(tmp_path: Path) -> None:
    data = manifest_folder(tmp_path / "set")
    rows = [json.loads(line) for line in (data / "manifest.jsonl").read_text().splitlines()]
    rows[0]["text"] = " [noise] "
    del rows[1]["text"]
    (data / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert [u.audio for u in read(data)] == ["counting.wav"]
    assert len(read(data, referenced_only=False)) == len(rows)  # for who only listens


def test_limit_is_for_each_set(tmp_path: Path) -> None:
    for name in ("a", "b"):
        manifest_folder(tmp_path / name)
    assert [u.set_name for u in read(tmp_path, limit=2)] == ["a", "a", "b", "b"]


def test_digest_tells_tests_apart() -> None:
    one, other = utterance("a"), utterance("b", index=1)
    assert digest([one, other]) == digest([utterance("a"), utterance("b", index=1)])
    assert len({digest([one, other]), digest([other, one]), digest([one]), digest([utterance("c")])}) == 4


def test_separators_of_unicode_do_not_end_a_line(tmp_path: Path) -> None:
    data = common_voice_folder(tmp_path, "en/quick_brown_fox")
    file = data / "test.tsv"
    file.write_text(file.read_text().replace(" quick", ' qu\u2028"ick'))
    assert 'qu\u2028"ick brown' in read(data)[0].text


def test_folder_of_something_else_is_told_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.jsonl.*LibriSpeech.*Common Voice"):
        read(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read(tmp_path / "none")


def test_data_without_the_language_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recording with a reference in de"):
        read(manifest_folder(tmp_path / "set"), languages=["de"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"audio": "a.wav", "lang": "en", "te', "Invalid JSON"),
        ('{"text": "hello", "lang": "en"}', "audio: Field required"),
        ('{"audio": "a.wav", "text": "hello"}', "lang: Field required"),
        ('{"audio": "gone.wav", "text": "hello", "lang": "en"}', r"gone\.wav is missing"),
        ('{"audio": "../b.wav", "text": "hello", "lang": "en"}', "lies outside of"),
        ('{"audio": "/etc/passwd", "text": "hello", "lang": "en"}', "lies outside of"),
    ],
)
def test_broken_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "b.wav").touch()
    data = manifest_folder(tmp_path / "set", "en/counting")
    with (data / "manifest.jsonl").open("a") as file:
        file.write("\n" + line + "\n")
    with pytest.raises(DataError, match=reason) as caught:
        read(data)
    assert str(caught.value).startswith(f"{data / 'manifest.jsonl'}, line 3: ")


def test_missing_recording_is_named_in_every_layout(tmp_path: Path) -> None:
    libri = librispeech_folder(tmp_path, "test-clean", "en/counting")
    voice = common_voice_folder(tmp_path / "cv", "en/counting")
    (libri / "test-clean/7/9/7-9-0000.flac").unlink()
    (voice / "clips/counting.wav").unlink()
    with pytest.raises(DataError, match=r"7-9\.trans\.txt, line 1: the recording .*7-9-0000\.flac is missing"):
        read(libri)
    with pytest.raises(DataError, match=r"test\.tsv, line 2: the recording .*counting\.wav is missing"):
        read(voice)


def test_table_without_a_column_is_an_error(tmp_path: Path) -> None:
    data = common_voice_folder(tmp_path, "en/counting")
    (data / "test.tsv").write_text("path\tlocale\ncounting.wav\ten\n")
    with pytest.raises(DataError, match="it has no sentence"):
        read(data)


def test_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    data = manifest_folder(tmp_path / "set", "en/counting")
    (data / "manifest.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read(data)
