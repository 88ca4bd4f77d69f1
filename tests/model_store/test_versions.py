import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import add, draft, evaluation

from model_store.errors import BrokenVariant, NoSuchVersion, NotInStore, Outdated
from model_store.manifest import Manifest
from model_store.registry import Registry
from model_store.versions import kept, previous

HERE = Path(__file__).parent


def versions(registry: Registry, variant: str = "fp32") -> tuple[int, list[int]]:
    """The version of the present build of `tiny`, and those of the earlier ones."""
    present = registry.get("tiny", variant)
    return present.version, [build.version for build in registry.earlier(present)]


def built(registry: Registry, work: Path, *contents: bytes) -> Manifest:
    """Builds `tiny:fp32` once for each of the contents."""
    return [add(registry, work, data=data) for data in contents][-1]


def weights(registry: Registry, place: str = "") -> bytes:
    return (registry.root / "tiny" / "fp32" / place / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("sound", "replaced", "staying"),
    [
        ((), 1, ()),
        ((1,), 1, (1,)),
        ((1, 2, 3), 3, (2, 3)),
        ((1, 2, 3), 1, (1, 3)),
        ((1, 2), 3, (1, 2)),
        ((1,), 2, (1,)),
    ],
)
def test_what_was_replaced_is_kept_and_the_newest_other(
    sound: tuple[int, ...], replaced: int, staying: tuple[int, ...]
) -> None:
    assert kept(sound, replaced) == staying


@pytest.mark.parametrize(
    ("present", "others", "found"), [(3, (1, 2), 2), (2, (1, 3), 1), (1, (2, 3), None), (1, (), None)]
)
def test_one_goes_back_to_what_is_older(present: int, others: tuple[int, ...], found: int | None) -> None:
    assert previous(present, others) == found


def test_the_two_builds_before_are_kept(registry: Registry, tmp_path: Path) -> None:
    built(registry, tmp_path, b"one", b"two", b"three", b"four")
    assert versions(registry) == (4, [2, 3])
    assert weights(registry, ".versions/2") == b"two"
    assert len(registry.list()) == 1, "earlier builds are no variants"
    assert registry.verify() == ()


def test_the_very_same_files_are_the_same_version_of_which_more_is_known(registry: Registry, tmp_path: Path) -> None:
    first = built(registry, tmp_path, b"one", b"two")
    registry.record("tiny", "fp32", evaluation(), digests=first.digests)
    again = add(
        registry, tmp_path, data=b"two", source="file:/elsewhere", evaluations=(evaluation(data_sha256="0" * 64),)
    )
    assert versions(registry) == (2, [1])
    assert (again.source, len(again.evaluations), again.created) == ("file:/elsewhere", 2, first.created)


def test_what_is_known_of_an_earlier_build_holds_when_it_is_built_again(registry: Registry, tmp_path: Path) -> None:
    first = built(registry, tmp_path, b"one")
    registry.record("tiny", "fp32", evaluation(), digests=first.digests)
    assert built(registry, tmp_path, b"two").evaluations == ()
    assert built(registry, tmp_path, b"one").evaluations == (evaluation(),)
    assert versions(registry) == (3, [1, 2])


def test_rollback_swaps_the_present_build_and_the_one_before(registry: Registry, tmp_path: Path) -> None:
    built(registry, tmp_path, b"one", b"two", b"three")
    assert registry.rollback("tiny", "fp32").version == 2
    assert (weights(registry), versions(registry)) == (b"two", (2, [1, 3]))
    registry.rollback("tiny", "fp32", 3)
    assert (weights(registry), versions(registry)) == (b"three", (3, [1, 2]))
    assert registry.verify() == ()


def test_a_version_is_never_used_again(registry: Registry, tmp_path: Path) -> None:
    built(registry, tmp_path, b"one", b"two", b"three")
    (registry.root / "tiny" / "fp32" / "model.onnx").write_bytes(b"damaged")
    registry.rollback("tiny", "fp32")
    assert versions(registry) == (2, [1]), "a damaged build is not kept"
    built(registry, tmp_path, b"four")
    assert versions(registry) == (4, [1, 2])


@pytest.mark.parametrize("damage", ["{", None])
def test_a_build_whose_manifest_is_damaged_counts_and_can_be_left(
    registry: Registry, tmp_path: Path, damage: str | None
) -> None:
    built(registry, tmp_path, b"one", b"two")
    manifest = registry.root / "tiny" / "fp32" / "manifest.json"
    manifest.unlink() if damage is None else manifest.write_text(damage)
    assert registry.rollback("tiny", "fp32").version == 1
    built(registry, tmp_path, b"three")
    assert versions(registry) == (3, [1])


def test_rollback_refuses_what_was_not_kept(registry: Registry, tmp_path: Path) -> None:
    built(registry, tmp_path, b"one")
    with pytest.raises(NoSuchVersion, match=r"no build before the present one of tiny:fp32\. Kept: none"):
        registry.rollback("tiny", "fp32")
    built(registry, tmp_path, b"two")
    for version in (0, 2, 3):
        with pytest.raises(NoSuchVersion, match=rf"no other build with version {version} of tiny:fp32\. Kept: 1"):
            registry.rollback("tiny", "fp32", version)
    with pytest.raises(NotInStore):
        registry.rollback("tiny", "int8")


def test_verify_and_rollback_name_the_damaged_file_of_an_earlier_build(registry: Registry, tmp_path: Path) -> None:
    built(registry, tmp_path, b"one", b"two")
    damaged = registry.root / "tiny" / "fp32" / ".versions" / "1" / "model.onnx"
    damaged.write_bytes(b"ONE")
    assert [problem.file for problem in registry.verify()] == [damaged]
    with pytest.raises(BrokenVariant, match=r"Version 1 of tiny:fp32 is damaged: .*/1/model\.onnx: wrong checksum"):
        registry.rollback("tiny", "fp32")
    assert weights(registry) == b"two"
    built(registry, tmp_path, b"three")
    assert versions(registry) == (3, [2])


def test_an_earlier_build_in_the_wrong_place_is_a_problem(registry: Registry, tmp_path: Path) -> None:
    built(registry, tmp_path, b"one", b"two")
    home = registry.root / "tiny" / "fp32" / ".versions"
    (home / "1").rename(home / "7")
    assert [problem.reason for problem in registry.verify()] == ["it describes version 1"]


def test_a_folder_copied_from_a_variant_does_not_bring_its_versions(registry: Registry, tmp_path: Path) -> None:
    built(registry, tmp_path, b"one", b"two")
    copy = shutil.copytree(registry.root / "tiny" / "fp32", tmp_path / "copy")
    registry.add(draft(variant="int8"), copy)
    assert versions(registry, "int8") == (1, [])


def test_remove_takes_the_versions_along(registry: Registry, tmp_path: Path) -> None:
    built(registry, tmp_path, b"one", b"two")
    registry.remove("tiny", "fp32")
    assert not (registry.root / "tiny").exists()
    assert built(registry, tmp_path, b"three").version == 1


def test_an_evaluation_takes_the_place_of_its_like(registry: Registry, tmp_path: Path) -> None:
    digests = built(registry, tmp_path, b"one").digests
    for one in (evaluation(), evaluation(threads=1), evaluation(wer=5.0)):
        registry.record("tiny", "fp32", one, digests=digests)
    found = registry.get("tiny", "fp32").evaluations
    assert [(one.threads, one.wer) for one in found] == [(2, 5.0), (1, 5.6)]
    assert registry.verify() == ()


def test_an_evaluation_of_other_files_is_refused(registry: Registry, tmp_path: Path) -> None:
    digests = built(registry, tmp_path, b"one").digests
    built(registry, tmp_path, b"two")
    with pytest.raises(Outdated, match=r"tiny:fp32 changed while it was evaluated \(model\.onnx\)"):
        registry.record("tiny", "fp32", evaluation(), digests=digests)
    present = registry.get("tiny", "fp32")
    (registry.path(present) / "model.onnx").write_bytes(b"TWO")
    with pytest.raises(BrokenVariant, match=r"model\.onnx: wrong checksum"):
        registry.record("tiny", "fp32", evaluation(), digests=present.digests)
    assert registry.get("tiny", "fp32") == present


def test_checked_names_the_file_that_is_changed_or_missing(registry: Registry, tmp_path: Path) -> None:
    manifest = built(registry, tmp_path, b"one")
    folder = registry.checked(manifest)
    assert folder == registry.path(manifest)
    assert registry.checked(draft()) == folder, "what counts is the manifest in the store"
    (folder / "model.onnx").unlink()
    with pytest.raises(BrokenVariant, match=r"model\.onnx: it is missing"):
        registry.checked(manifest)


WRITER = """
import sys
from pathlib import Path
from tiny_models import add, evaluation, sha256
from model_store.registry import Registry
store, work, who = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
registry = Registry(store)
for turn in range(10):
    digests = registry.get("tiny", "fp32").digests
    registry.record("tiny", "fp32", evaluation(data_sha256=sha256(f"{who} {turn}".encode())), digests=digests)
    add(registry, work / who, variant=f"{who}-{turn}")
    add(registry, work / who, variant="shared", data=f"{who} {turn}".encode())
"""


def test_processes_that_record_and_add_at_once_lose_nothing(registry: Registry, tmp_path: Path) -> None:
    built(registry, tmp_path, b"one")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, registry.root, tmp_path, who], env=environment)
        for who in ("first", "second")
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert len(registry.get("tiny", "fp32").evaluations) == 20
    assert len(registry.list()) == 22
    assert versions(registry, "shared") == (20, [18, 19])
    assert registry.verify() == ()
