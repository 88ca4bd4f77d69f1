from pathlib import Path

import pytest
from tiny_models import add, contents, draft

from model_store.errors import BrokenVariant, NotInStore
from model_store.registry import Registry


def test_a_store_that_does_not_exist_is_empty_and_is_not_made(registry: Registry) -> None:
    assert registry.list() == ()
    assert registry.verify() == ()
    assert not registry.root.exists()


def test_added_variant_is_listed_with_its_files_and_moved(registry: Registry, tmp_path: Path) -> None:
    added = add(registry, tmp_path)
    assert registry.list() == (added,) == (registry.get("tiny", "fp32"),)
    assert [(file.name, file.bytes) for file in added.files] == [("model.onnx", 7)]
    assert (registry.path(added) / "model.onnx").read_bytes() == b"weights"
    assert not (tmp_path / "made").exists()


def test_adding_a_second_variant_keeps_the_first(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path)
    add(registry, tmp_path, variant="int8", data=b"small")
    assert [manifest.name for manifest in registry.list()] == ["tiny:fp32", "tiny:int8"]
    assert registry.verify() == ()


def test_adding_a_variant_again_replaces_it(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path)
    add(registry, tmp_path, data=b"better weights")
    assert [manifest.total_bytes for manifest in registry.list()] == [14]
    assert registry.verify() == ()


def test_no_staging_is_left_after_a_change(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path)
    registry.remove("tiny")
    assert contents(registry.root) == {}
    assert list((registry.root / ".staging").iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": "tiny"}', "\x00\xff"])
def test_a_broken_manifest_is_reported_and_hides_no_other(registry: Registry, tmp_path: Path, text: str) -> None:
    add(registry, tmp_path, variant="int8")
    path = registry.path(add(registry, tmp_path)) / "manifest.json"
    path.write_text(text, encoding="latin-1")
    listing = registry.scan()
    assert [manifest.name for manifest in listing.manifests] == ["tiny:int8"]
    assert [problem.file for problem in listing.problems] == [path]
    assert [problem.file for problem in registry.verify()] == [path]
    with pytest.raises(BrokenVariant, match="rm tiny:fp32"):
        registry.get("tiny", "fp32")


def test_a_missing_manifest_and_one_of_another_variant_are_problems(registry: Registry, tmp_path: Path) -> None:
    moved = registry.path(add(registry, tmp_path)).rename(registry.root / "tiny" / "int8")
    (registry.root / "tiny" / "empty").mkdir()
    assert registry.list() == ()
    assert [problem.reason for problem in registry.verify()] == [
        "the manifest is missing",
        "it describes another variant (tiny:fp32)",
    ]
    assert moved.exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [(None, "it is missing"), (b"weight", "6 bytes instead of 7"), (b"Weights", "wrong checksum")],
)
def test_verify_names_the_file_that_differs(
    registry: Registry, tmp_path: Path, data: bytes | None, reason: str
) -> None:
    path = registry.path(add(registry, tmp_path)) / "model.onnx"
    add(registry, tmp_path, model="other")
    path.unlink() if data is None else path.write_bytes(data)
    (problem,) = registry.verify()
    assert (problem.file, reason in problem.reason) == (path, True)
    assert registry.verify("other") == ()
    assert registry.verify("tiny", "fp32") == (problem,)


def test_remove_takes_one_variant_or_all(registry: Registry, tmp_path: Path) -> None:
    for variant in ("fp32", "int8", "int4"):
        add(registry, tmp_path, variant=variant)
    assert registry.remove("tiny", "int4") == ("tiny:int4",)
    assert registry.remove("tiny") == ("tiny:fp32", "tiny:int8")
    assert not (registry.root / "tiny").exists()


def test_remove_takes_a_damaged_variant_too(registry: Registry, tmp_path: Path) -> None:
    (registry.path(add(registry, tmp_path)) / "manifest.json").unlink()
    assert registry.remove("tiny", "fp32") == ("tiny:fp32",)
    assert registry.scan().problems == ()


@pytest.mark.parametrize(("model", "variant"), [("tiny", "int8"), ("none", "fp32"), ("..", "store"), ("tiny", "../x")])
def test_what_is_not_there_is_told_with_what_is(registry: Registry, tmp_path: Path, model: str, variant: str) -> None:
    add(registry, tmp_path)
    for ask in (registry.get, registry.remove, registry.verify):
        with pytest.raises(NotInStore, match="In it: tiny:fp32"):
            ask(model, variant)


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", ""])
def test_a_manifest_cannot_name_a_place_outside_the_store(name: str) -> None:
    for field in ("model", "variant"):
        with pytest.raises(ValueError, match=field):
            draft(**{field: name})


def test_complete_wants_a_base_variant_and_all_files_of_all_variants(registry: Registry, tmp_path: Path) -> None:
    base = add(registry, tmp_path)
    small = add(registry, tmp_path, variant="int8")
    assert registry.complete("tiny") == (base, small)
    (registry.path(small) / "model.onnx").write_bytes(b"cut")
    assert registry.complete("tiny") == ()
    assert registry.complete("other") == ()


def test_a_store_can_be_read_where_it_cannot_be_written(registry: Registry, tmp_path: Path) -> None:
    added = add(registry, tmp_path)
    before = contents(registry.root)
    registry.root.chmod(0o500)
    try:
        assert registry.list() == (added,)
        assert registry.verify() == ()
    finally:
        registry.root.chmod(0o700)
    assert contents(registry.root) == before
