import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tiny_models import add, contents, draft, evaluation, sha256

from model_store import archive
from model_store.errors import BrokenVariant, ImportRefused, NotInStore, StoreUnwritable
from model_store.registry import Registry

Member = tuple[tarfile.TarInfo, bytes]


@pytest.fixture
def other(tmp_path: Path) -> Registry:
    """The store of another site."""
    return Registry(tmp_path / "other" / "store")


@pytest.fixture
def exported(other: Registry, tmp_path: Path) -> Path:
    """A file with tiny:fp32 and tiny:int8 of the other site."""
    made = tmp_path / "made"
    made.mkdir()
    (made / "a.json").write_bytes(b"{}")
    (made / "model.onnx").write_bytes(b"weights" * 100)
    other.add(draft(), made)
    add(other, tmp_path, variant="int8", parent="fp32", recipe="int8", license="CC-BY-4.0", evaluations=(evaluation(),))
    archive.export(other, "tiny", None, tmp_path / "tiny.tar")
    return tmp_path / "tiny.tar"


def members(path: Path) -> list[Member]:
    with tarfile.open(path) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def rewritten(path: Path, found: Iterable[Member]) -> None:
    with tarfile.open(path, "w") as tar:
        for member, data in found:
            tar.addfile(member, io.BytesIO(data))


def test_what_was_exported_is_the_same_where_it_is_imported(
    registry: Registry, other: Registry, exported: Path
) -> None:
    assert archive.load(registry, exported) == registry.list() == other.list()
    assert contents(registry.root) == contents(other.root)
    assert registry.verify() == ()


def test_one_variant_is_exported_alone(registry: Registry, other: Registry, exported: Path, tmp_path: Path) -> None:
    archive.export(other, "tiny", "int8", tmp_path / "one.tar")
    assert [manifest.name for manifest in archive.load(registry, tmp_path / "one.tar")] == ["tiny:int8"]


def test_the_same_variants_give_the_same_bytes(registry: Registry, exported: Path, tmp_path: Path) -> None:
    archive.load(registry, exported)
    archive.export(registry, "tiny", None, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == exported.read_bytes()


def test_any_tar_program_can_list_an_export(exported: Path) -> None:
    assert [(member.name, member.mtime, member.uid, member.uname) for member, _ in members(exported)] == [
        ("tiny/fp32/manifest.json", 0, 0, ""),
        ("tiny/fp32/manifest.json.sha256", 0, 0, ""),
        ("tiny/fp32/a.json", 0, 0, ""),
        ("tiny/fp32/model.onnx", 0, 0, ""),
        ("tiny/int8/manifest.json", 0, 0, ""),
        ("tiny/int8/manifest.json.sha256", 0, 0, ""),
        ("tiny/int8/model.onnx", 0, 0, ""),
    ]


def test_an_import_over_a_variant_is_its_next_version(registry: Registry, exported: Path, tmp_path: Path) -> None:
    for data in (b"one", b"two"):
        add(registry, tmp_path, data=data)
    for _ in range(2):
        archive.load(registry, exported)
        present = registry.get("tiny", "fp32")
        assert (present.version, [build.version for build in registry.earlier(present)]) == (3, [1, 2])


def test_a_damaged_variant_is_not_exported(other: Registry, exported: Path) -> None:
    before = exported.read_bytes()
    (other.root / "tiny" / "int8" / "model.onnx").write_bytes(b"Weights")
    with pytest.raises(BrokenVariant, match=r"tiny:int8 is damaged: .*/model\.onnx: wrong checksum"):
        archive.export(other, "tiny", None, exported)
    assert exported.read_bytes() == before
    (other.root / "tiny" / "int8" / "manifest.json").write_text("{")
    with pytest.raises(BrokenVariant, match=r"tiny:int8 is damaged: .*/manifest\.json: it is not a manifest"):
        archive.export(other, "tiny", None, exported)
    with pytest.raises(NotInStore):
        archive.export(other, "tiny", "int4", exported)
    assert [path.name for path in exported.parent.glob("*.tar*")] == ["tiny.tar"]


def test_an_export_that_cannot_be_written_is_told(other: Registry, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable, match=r"nowhere/tiny\.tar"):
        archive.export(other, "tiny", None, tmp_path / "nowhere" / "tiny.tar")


FULL_DISK = """
import resource, sys
from pathlib import Path
from model_store import archive
from model_store.registry import Registry
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
archive.{change}
"""


@pytest.mark.parametrize(
    "change",
    [
        "load(Registry(Path('new')), Path('tiny.tar'))",
        "export(Registry(Path('other/store')), 'tiny', None, Path('new'))",
    ],
)
def test_a_full_disk_is_told_and_nothing_is_left(exported: Path, change: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK.format(change=change)],
        cwd=exported.parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "StoreUnwritable: Cannot write " in done.stderr
    new = exported.parent / "new"
    assert not new.is_file()
    assert contents(new) == {}
    assert not list(exported.parent.glob("*.part"))


Change = Callable[[dict[str, Member]], object]
"""Of an archive's members by their names without tiny/."""


def renamed(path: str, name: str) -> Change:
    return lambda found: setattr(found[path][0], "name", name)


def typed(path: str, kind: bytes) -> Change:
    def change(found: dict[str, Member]) -> None:
        member = found[path][0]
        member.type, member.linkname, member.size = kind, "/etc/passwd", 0

    return change


def filled(path: str, data: bytes) -> Change:
    """Another content of the same name; a manifest comes with its checksum."""

    def change(found: dict[str, Member]) -> None:
        found[path][0].size = len(data)
        found[path] = (found[path][0], data)
        if path == BASE:
            filled(CHECKSUM, f"{sha256(data)}  manifest.json\n".encode())(found)

    return change


def edited(old: bytes, new: bytes) -> Change:
    """The manifest of tiny:fp32 with other words."""
    return lambda found: filled(BASE, found[BASE][1].replace(old, new))(found)


def repeated(path: str, *, after: str) -> Change:
    def change(found: dict[str, Member]) -> None:
        rest = list(found.items())
        place = [name for name, _ in rest].index(after) + 1
        found.clear()
        found.update([*rest[:place], ("again", dict(rest)[path]), *rest[place:]])

    return change


def without(*paths: str) -> Change:
    return lambda found: [found.pop(path) for path in paths]


BASE, CHECKSUM, CONFIG, WEIGHTS = (
    f"fp32/{name}" for name in ("manifest.json", "manifest.json.sha256", "a.json", "model.onnx")
)
LAST = "int8/model.onnx"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (filled(WEIGHTS, b"Weights" * 100), "tiny/fp32/model.onnx: wrong checksum"),
        (filled(WEIGHTS, b"weights"), "tiny/fp32/model.onnx: wrong size, expected 700 bytes, got 7"),
        (filled(WEIGHTS, b"weights" * 101), "tiny/fp32/model.onnx: wrong size, expected 700 bytes"),
        (filled(CHECKSUM, b"0" * 64 + b"  manifest.json\n"), "tiny/fp32/manifest.json: wrong checksum"),
        (filled(CHECKSUM, b"0"), "tiny/fp32/manifest.json.sha256: wrong size"),
        (without(CHECKSUM), "tiny/fp32/manifest.json.sha256: it is missing; 'tiny/fp32/a.json' is in its place"),
        (without(WEIGHTS), "tiny/fp32/model.onnx: it is missing; 'tiny/int8/manifest.json' is in its place"),
        (without(LAST), "tiny/int8/model.onnx: it is missing; nothing is in its place"),
        (without(BASE), "'tiny/fp32/manifest.json.sha256': a variant begins with its manifest.json"),
        (lambda found: found.clear(), "nothing is in it"),
        (repeated(CONFIG, after=CONFIG), "tiny/fp32/model.onnx: it is missing; 'tiny/fp32/a.json'"),
        (repeated(WEIGHTS, after=WEIGHTS), "'tiny/fp32/model.onnx': a variant begins with"),
        (repeated(LAST, after=LAST), "'tiny/int8/model.onnx': a variant begins with"),
        (repeated(BASE, after=LAST), "tiny/fp32/manifest.json.sha256: it is missing; nothing"),
        (renamed(WEIGHTS, "../../evil"), "tiny/fp32/model.onnx: it is missing; '../../evil' is in its place"),
        (renamed(WEIGHTS, "/etc/evil"), "tiny/fp32/model.onnx: it is missing; '/etc/evil' is in its place"),
        (renamed(WEIGHTS, "tiny/fp32/../model.onnx"), "tiny/fp32/model.onnx: it is missing"),
        (renamed(WEIGHTS, "long/" * 60), "'././@PaxHeader': it is not a plain file"),
        (renamed(BASE, "other/fp32/manifest.json"), "it describes another variant (tiny:fp32)"),
        (typed(WEIGHTS, tarfile.SYMTYPE), "'tiny/fp32/model.onnx': it is not a plain file"),
        (typed(WEIGHTS, tarfile.LNKTYPE), "'tiny/fp32/model.onnx': it is not a plain file"),
        (typed(WEIGHTS, tarfile.CHRTYPE), "'tiny/fp32/model.onnx': it is not a plain file"),
        (typed(WEIGHTS, tarfile.FIFOTYPE), "'tiny/fp32/model.onnx': it is not a plain file"),
        (typed(WEIGHTS, tarfile.DIRTYPE), "it is not a plain file"),
        (typed(BASE, tarfile.GNUTYPE_SPARSE), "'tiny/fp32/manifest.json': it is not a plain file"),
        (filled(BASE, b"{"), "'tiny/fp32/manifest.json': it is not a manifest"),
        (filled(BASE, b" " * (archive.MANIFEST_BYTES + 1)), "of 4194304 bytes at most"),
        (edited(b'"a.json"', b'"../a.json"'), "it is not a manifest (files.0.name"),
        (edited(b'"a.json"', b'"model.onnx"'), "it is not a manifest (Value error, a file is listed twice"),
        (edited(b'"a.json"', b'"manifest.json"'), "a file is listed twice, or is the manifest"),
        (edited(b'"variant": "fp32"', b'"variant": ".."'), "it is not a manifest (variant"),
        (edited(b'"model": "tiny"', b'"model": "/tmp"'), "it is not a manifest (model"),
        (edited(b'"bytes": 700', b'"bytes": 999999999999'), "wrong size, expected 999999999999 bytes, got 700"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [False, True])
def test_a_changed_archive_is_refused_by_name_and_the_store_is_as_it_was(
    registry: Registry, exported: Path, tmp_path: Path, change: Change, said: str, *, before: bool
) -> None:
    if before:
        add(registry, tmp_path)
    was = contents(registry.root)
    found = {member.name.removeprefix("tiny/"): (member, data) for member, data in members(exported)}
    change(found)
    rewritten(exported, found.values())
    with pytest.raises(ImportRefused) as refused:
        archive.load(registry, exported)
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"Cannot import {exported}, the store is as it was: ")
    assert contents(registry.root) == was
    assert not (tmp_path / "evil").exists()


def test_an_archive_holds_each_variant_of_one_model_once(
    registry: Registry, other: Registry, exported: Path, tmp_path: Path
) -> None:
    found = members(exported)
    add(other, tmp_path, model="small")
    archive.export(other, "small", None, tmp_path / "small.tar")
    for more in (found, members(tmp_path / "small.tar")):
        rewritten(exported, [*found, *more])
        with pytest.raises(ImportRefused, match=r"each variant of tiny once, and no other"):
            archive.load(registry, exported)
    assert contents(registry.root) == {}


def test_an_archive_cut_anywhere_is_refused(registry: Registry, exported: Path) -> None:
    whole = exported.read_bytes()
    sound = sum(
        tarfile.BLOCKSIZE + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE for member, _ in members(exported)
    )
    for length in (*range(0, sound + 1, 100), sound):
        exported.write_bytes(whole[:length])
        with pytest.raises(ImportRefused):
            archive.load(registry, exported)
    assert contents(registry.root) == {}


def test_a_bit_that_flips_anywhere_is_noticed_or_changes_nothing(
    registry: Registry, other: Registry, exported: Path
) -> None:
    whole = bytearray(exported.read_bytes())
    for place in range(0, len(whole), 61):
        whole[place] ^= 4
        exported.write_bytes(whole)
        whole[place] ^= 4
        try:
            assert archive.load(registry, exported) == other.list()
        except ImportRefused:
            continue


@pytest.mark.parametrize("data", [b"", b"no tar", bytes(512), bytes(range(256)) * 8, b"\x1f\x8b" + bytes(600)])
def test_what_is_no_archive_is_refused(registry: Registry, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(ImportRefused, match="the store is as it was: "):
        archive.load(registry, tmp_path / "x.tar")
    with pytest.raises(ImportRefused, match="No such file"):
        archive.load(registry, tmp_path / "none.tar")
    assert not registry.root.exists()
