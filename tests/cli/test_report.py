"""`wren report` as a user runs it."""

from html import escape
from pathlib import Path

import pytest

from model_store.manifest import Manifest
from model_store.registry import Registry
from service.engine.device import read_device
from service.engine.survey import Surveyor
from tests.cli.running import wren
from tests.comparison.variants import evaluation, variant
from tests.engine.test_profiles import PROFILE


def stored(root: Path, *manifests: Manifest) -> Path:
    """A store of manifests: the page needs no more of it."""
    for manifest in manifests:
        folder = root / manifest.model / manifest.variant
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(manifest.model_dump_json())
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return stored(
        tmp_path / "store",
        variant("tiny:fp32", 200, evaluation(5.0)),
        variant("tiny:int8", 50, evaluation(5.5), evaluation(9.0, data="other")),
        variant("base:fp32", 300),
        variant("vad:fp32", 2, family="silero-vad"),
    )


def test_page_is_written_and_said_to_be_of_which_recordings(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = wren("report", "-o", page, "--store", store)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{page}: 2 of 3 variants compared on libri (")
    written = page.read_text(encoding="utf-8")
    assert "base" in written
    assert "vad" not in written


def test_recordings_and_models_can_be_named(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = wren("report", "-o", page, "--store", store, "--data", "other", "--model", "tiny")
    assert done.stdout.startswith(f"{page}: 1 of 2 variants compared on other (")


def test_profile_of_this_machine_is_shown(store: Path, tmp_path: Path) -> None:
    device = read_device()
    surveyor = Surveyor(Registry(store), device, threads=device.cores)
    surveyor.profiles.keep(Registry(store).get("tiny", "int8"), PROFILE, surveyor.conditions)
    page = tmp_path / "page.html"
    done = wren("report", "-o", page, "--store", store)
    assert done.returncode == 0, done.stderr
    written = page.read_text(encoding="utf-8")
    assert "Speed here" in written
    assert f"<dd>{escape(str(surveyor.profiles.machine))}</dd>" in written


def test_what_is_wrong_is_one_line_and_no_page(store: Path, tmp_path: Path) -> None:
    page, fresh = tmp_path / "page.html", stored(tmp_path / "fresh", variant("tiny:fp32"))
    for arguments, told in (
        (("--store", tmp_path / "nothing"), "wren models pull"),
        (("--store", fresh), "wren evaluate tiny --data DIR"),
        (("--store", store, "--data", "none"), "No variant was evaluated on 'none'"),
        (("--store", store, "--model", "small"), "has no small"),
    ):
        done = wren("report", "-o", page, *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert told in done.stderr
    assert not page.exists()
    assert wren("report", "-o", tmp_path / "no" / "page.html", "--store", store).returncode == 1


def test_broken_variant_is_named_and_left_out(store: Path, tmp_path: Path) -> None:
    (store / "tiny" / "int8" / "manifest.json").write_text("{")
    done = wren("report", "-o", tmp_path / "page.html", "--store", store)
    assert done.returncode == 0
    assert "left out: tiny:int8" in done.stderr
