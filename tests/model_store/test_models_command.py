import json
import subprocess
import sys
from pathlib import Path

import pytest
from local_site import Site
from tiny_models import WEIGHTS, add, evaluation, sha256
from typer.testing import CliRunner, Result

from model_store.registry import Registry
from service.cli.models import app

CATALOG = """
[models.tiny]
family = "whisper"
languages = ["en", "fr", "de", "es", "it", "pt", "nl"]
license = "MIT"

[[models.tiny.sources]]
kind = "https"
format = "whisper-ctranslate2"
files = [{{ name = "model.bin", url = "{url}", sha256 = "{sha256}", bytes = {bytes} }}]
"""


def wren(registry: Registry, *arguments: str, answer: str = "") -> Result:
    """Runs `wren models …` on the store of `registry`."""
    command, *rest = arguments
    return CliRunner().invoke(app, [command, "--store", str(registry.root), *rest], input=answer)


@pytest.fixture
def user_catalog(tmp_path: Path, site: Site) -> Path:
    path = tmp_path / "catalog.toml"
    text = CATALOG.format(url=site.root + "/model.bin", sha256=sha256(WEIGHTS), bytes=len(WEIGHTS))
    path.write_text(text)
    return path


def test_list_tells_what_is_in_the_store_and_what_is_only_known(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, model="whisper-base")
    rows = [line.split() for line in wren(registry, "list").stdout.splitlines()]
    assert ["whisper-base:fp32", "1", "fp32", "7", "bytes", "by", "hand", "MIT", "en"] in rows
    assert ["whisper-tiny.en", "MIT", "en"] in rows
    assert sum(row[0].startswith("whisper-base") for row in rows) == 1


def test_list_tells_what_was_made_of_what_and_measured(registry: Registry, tmp_path: Path) -> None:
    older = evaluation(wer=9.9, device="Another", date="2025-01-01T00:00:00Z")
    latest = evaluation(data="libri_eval+libri_trainclean5+misc")
    add(registry, tmp_path)
    add(registry, tmp_path, variant="int8", parent="fp32", recipe="int8", evaluations=(latest, older))
    rows = [line.split() for line in wren(registry, "list").stdout.splitlines()]
    told = ["int8", "of", "fp32", "5.60", "%", "libri_eval+libri_trainc…", "21.5x", "MIT", "en"]
    assert ["tiny:int8", "1", "fp32", "7", "bytes", *told] in rows


def test_list_and_show_tell_earlier_versions(registry: Registry, tmp_path: Path) -> None:
    for data in (b"1", b"22", b"333"):
        add(registry, tmp_path, data=data)
    assert "earlier" not in wren(registry, "list").stdout
    rows = [line.split()[:5] for line in wren(registry, "list", "--versions").stdout.splitlines()]
    assert [row for row in rows if row[0] == "tiny:fp32"] == [
        ["tiny:fp32", "3", "fp32", "3", "bytes"],
        ["tiny:fp32", "2", "(earlier)", "fp32", "2"],
        ["tiny:fp32", "1", "(earlier)", "fp32", "1"],
    ]
    shown = wren(registry, "show", "tiny").stdout
    assert shown.index("earlier version 2") < shown.index("earlier version 1")
    for command in (("list",), ("show", "tiny")):
        told = json.loads(wren(registry, *command, "--json").stdout)
        assert [build["version"] for build in told["earlier"]] == [1, 2]


def test_show_tells_each_evaluation(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, evaluations=(evaluation(), evaluation(device="Another", threads=1, energy_j=55.0)))
    shown = wren(registry, "show", "tiny:fp32").stdout.splitlines()
    (first, second) = (line for line in shown if line.startswith("libri+misc"))
    told = "5.60 % 4.90 to 6.40 2.25 % 21.5x 85 ms 190 ms 300 ms 250.0 MB"
    assert told in " ".join(first.split())
    assert "A processor" in first
    assert "Another" in second
    assert "55 J" in second
    assert "2026-03-04" in first


def test_rollback_tells_what_is_back(registry: Registry, tmp_path: Path) -> None:
    for data in (b"1", b"22", b"333"):
        add(registry, tmp_path, data=data)
    assert wren(registry, "rollback", "tiny:fp32").stdout.startswith("tiny:fp32 is version 2 again, of 2")
    assert wren(registry, "rollback", "tiny:fp32", "--to", "3").exit_code == 0
    assert registry.get("tiny", "fp32").version == 3


def test_a_model_is_exported_to_a_file_and_imported(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path)
    add(registry, tmp_path, variant="int8")
    file = tmp_path / "carried.tar"
    done = wren(registry, "export", "tiny", "-o", str(file))
    assert done.stdout == f"{file} (10.2 kB) holds tiny:fp32, tiny:int8\n"
    other = Registry(tmp_path / "other")
    assert wren(other, "import", str(file)).stdout.splitlines() == [
        "tiny:fp32 is in the store, version 1",
        "tiny:int8 is in the store, version 1",
    ]
    assert other.list() == registry.list()


def test_an_export_is_named_after_what_is_in_it(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(registry, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert wren(registry, "export", "tiny:fp32").exit_code == 0
    assert (tmp_path / "tiny-fp32.tar").exists()


def test_list_tells_of_a_broken_variant_and_lists_the_others(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, variant="int8")
    broken = registry.path(add(registry, tmp_path)) / "manifest.json"
    broken.write_text("{")
    done = wren(registry, "list")
    assert done.exit_code == 0
    assert "tiny:int8" in done.stdout
    assert str(broken) in done.stderr


def test_list_and_show_as_json_can_be_read_by_a_program(registry: Registry, tmp_path: Path) -> None:
    added = add(registry, tmp_path)
    listed = json.loads(wren(registry, "list", "--json").stdout)
    shown = json.loads(wren(registry, "show", "tiny:fp32", "--json").stdout)
    assert listed["stored"] == shown["stored"] == [added.model_dump(mode="json")]
    assert "silero-vad" in listed["catalog"]


def test_show_tells_the_manifest_or_else_the_sources(registry: Registry, tmp_path: Path, user_catalog: Path) -> None:
    offered = wren(registry, "show", "tiny", "--catalog", str(user_catalog)).stdout
    assert "not in the store" in offered
    assert "7 languages" in offered
    added = add(registry, tmp_path)
    assert added.files[0].sha256 in wren(registry, "show", "tiny").stdout


def test_verify_names_the_damaged_file_and_fails(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, model="other")
    damaged = registry.path(add(registry, tmp_path)) / "model.onnx"
    assert wren(registry, "verify").exit_code == 0
    damaged.write_bytes(b"Weights")
    done = wren(registry, "verify")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == ["other:fp32: 1 files as they should be"]
    assert str(damaged) in done.stderr
    assert f"wren models pull tiny --store {registry.root} --force" in done.stderr
    assert wren(registry, "verify", "other").exit_code == 0


def test_verify_tells_of_a_build_to_go_back_to(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, data=b"1")
    (registry.path(add(registry, tmp_path)) / "model.onnx").write_bytes(b"Weights")
    assert "wren models rollback tiny:fp32\n" in wren(registry, "verify").stderr


def test_rm_asks_first(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path)
    assert wren(registry, "rm", "tiny", answer="n\n").exit_code == 1
    assert registry.list()
    assert wren(registry, "rm", "tiny:fp32", answer="y\n").exit_code == 0
    assert registry.list() == ()


def test_rm_with_yes_does_not_ask(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path)
    assert wren(registry, "rm", "tiny", "--yes").stdout == "Removed tiny:fp32\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pull", "none"], "wren: No catalogue names a model 'none'. Known: "),
        (["pull", "tiny", "--source", "ftp"], "wren: There is no kind of source 'ftp'. Known: pypi, hf, https, file."),
        (["pull", "silero-vad", "--from", "/none"], "wren: /none: a silero-vad model comes with "),
        (["pull", "silero-vad", "tiny", "--from", "/x"], "wren: --from is for one model at a time."),
        (["show", "none"], "wren: No catalogue names a model 'none'."),
        (["show", "tiny:int8"], "wren: The store has no 'tiny:int8'. In it: nothing."),
        (["verify", "tiny"], "wren: The store has no 'tiny'."),
        (["rm", "--yes", "tiny"], "wren: The store has no 'tiny'."),
        (["rollback", "tiny:fp32"], "wren: The store has no 'tiny:fp32'."),
        (["rollback", "tiny"], "wren: A variant has versions, a model has none: wren models rollback tiny:VARIANT"),
        (["export", "tiny"], "wren: The store has no 'tiny'."),
        (["import", "/none.tar"], "wren: Cannot import /none.tar, the store is as it was: it cannot be read (No such"),
        (["list", "--catalog", "/none.toml"], "wren: The catalogue /none.toml cannot be used: No such file"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_1(registry: Registry, arguments: list[str], said: str) -> None:
    done = wren(registry, *arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_failed_download_is_told_and_costs_no_other_model(
    registry: Registry, site: Site, tmp_path: Path, user_catalog: Path
) -> None:
    add(registry, tmp_path, model="silero-vad")
    site.put("/model.bin", WEIGHTS[::-1])
    done = wren(registry, "pull", "tiny", "silero-vad", "--catalog", str(user_catalog))
    assert done.exit_code == 1
    assert done.stdout == "silero-vad is in the store: fp32 (7 bytes)\n"
    assert f"{site.root}/model.bin: wrong checksum" in done.stderr


HEAVY = ("onnx", "onnxruntime", "numpy", "httpx", "huggingface_hub", "rich.progress")


def test_the_command_is_there_before_anything_heavy_is_imported() -> None:
    code = f"import sys, service.cli.models; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_listing_imports_no_network_client_and_no_runtime(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom service.cli.models import app\n"
        f"try:\n    app(['list', '--store', {str(tmp_path)!r}])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
