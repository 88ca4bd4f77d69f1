from pathlib import Path

import pytest
from tiny_models import folder as folder_source
from tiny_models import sha256

from model_store.catalog import LocalFile
from model_store.errors import SourceMissing, WrongChecksum
from model_store.report import silent
from model_store.sources import folder


@pytest.fixture
def given(tmp_path: Path) -> Path:
    made = tmp_path / "given"
    (made / "deeper").mkdir(parents=True)
    (made / "model.bin").write_bytes(b"weights")
    (made / "config.json").write_bytes(b"")
    (made / ".hidden").write_bytes(b"no")
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "target"
    made.mkdir()
    return made


def test_the_plain_files_of_a_folder_are_copied_and_told_unchecked(given: Path, target: Path) -> None:
    got = folder.fetch(folder_source(given), target, report=silent)
    assert got.origin == f"file:{given}"
    assert [(file.name, file.bytes, file.checked) for file in got.files] == [
        ("config.json", 0, "nothing"),
        ("model.bin", 7, "nothing"),
    ]
    assert sorted(path.name for path in target.iterdir()) == ["config.json", "model.bin"]


def test_one_file_is_a_source_as_well(given: Path, target: Path) -> None:
    folder.fetch(folder_source(given / "model.bin"), target, report=silent)
    assert [path.name for path in target.iterdir()] == ["model.bin"]


def test_pinned_files_are_checked(given: Path, target: Path) -> None:
    pins = {"files": (LocalFile(name="model.bin", sha256=sha256(b"weights")),)}
    got = folder.fetch(folder_source(given).model_copy(update=pins), target, report=silent)
    assert [file.checked for file in got.files] == ["catalogue"]
    (target / "model.bin").unlink()
    (given / "model.bin").write_bytes(b"Weights")
    with pytest.raises(WrongChecksum, match=str(given / "model.bin")):
        folder.fetch(folder_source(given).model_copy(update=pins), target, report=silent)
    assert list(target.iterdir()) == []


def test_what_is_missing_is_named(given: Path, target: Path) -> None:
    with pytest.raises(SourceMissing, match="given/none: there is no such file or folder"):
        folder.fetch(folder_source(given / "none"), target, report=silent)
    with pytest.raises(SourceMissing, match="given/deeper: the folder holds no files"):
        folder.fetch(folder_source(given / "deeper"), target, report=silent)
    wanted = folder_source(given).model_copy(update={"files": (LocalFile(name="vocabulary.txt"),)})
    with pytest.raises(SourceMissing, match=r"given/vocabulary\.txt: No such file"):
        folder.fetch(wanted, target, report=silent)
