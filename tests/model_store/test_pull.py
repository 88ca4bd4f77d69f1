import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from local_site import Page, Site, wait_for, wait_until
from tiny_models import WEIGHTS, add, catalog_of, contents, copied, folder, refused, web

from model_store import catalog
from model_store.errors import PullFailed, SourceError, StoreUnwritable, UnknownModel
from model_store.pull import pull
from model_store.registry import Listing, Registry
from model_store.report import Progress

HERE = Path(__file__).parent

PULL = """
import sys
from pathlib import Path
from tiny_models import catalog_of, copied, folder, web
from model_store.pull import pull
from model_store.registry import Registry
store, origin = sys.argv[1:3]
source = web(origin) if origin.startswith("http") else folder(Path(origin))
report = lambda step: print(step.stage, step.what, flush=True) if step.stage != "fetch" else None
pulled = pull("tiny", Registry(Path(store)), catalog_of(source), report=report, convert=copied)
print([manifest.name for manifest in pulled])
"""


def other_process(registry: Registry, origin: str, *, before: str = "") -> subprocess.Popen[str]:
    """Pulls `tiny` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", before + PULL, str(registry.root), origin],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def given(tmp_path: Path) -> Path:
    made = tmp_path / "given"
    made.mkdir()
    (made / "model.bin").write_bytes(WEIGHTS)
    return made


def test_a_pulled_model_is_in_the_store_with_where_it_came_from(registry: Registry, site: Site) -> None:
    url = site.put("/mirror/model.bin", WEIGHTS)
    pulled = pull("tiny", registry, catalog_of(web(url)), convert=copied)
    assert pulled == registry.list()
    assert [manifest.name for manifest in pulled] == ["tiny:fp32", "tiny:int8"]
    base, small = pulled
    assert (base.source, base.parent, base.recipe, base.license) == (site.root + "/mirror", None, "copied", "MIT")
    assert (small.parent, small.precision, small.total_bytes) == ("fp32", "int8", len(WEIGHTS))
    assert [(file.name, file.checked) for file in base.source_files] == [("model.bin", "catalogue")]
    assert registry.verify() == ()


def test_the_second_pull_asks_nobody(registry: Registry, site: Site) -> None:
    known = catalog_of(web(site.put("/model.bin", WEIGHTS)))
    first = pull("tiny", registry, known, convert=copied)
    site.seen.clear()
    assert pull("tiny", registry, known, convert=refused) == first
    assert site.seen == []


def test_force_builds_anew_and_leaves_variants_made_by_others(registry: Registry, given: Path, tmp_path: Path) -> None:
    pull("tiny", registry, catalog_of(folder(given)), convert=copied)
    add(registry, tmp_path, variant="int4")
    (given / "model.bin").write_bytes(b"newer")
    pull("tiny", registry, catalog_of(folder(given)), convert=copied, force=True)
    assert {manifest.variant: manifest.total_bytes for manifest in registry.list()} == {"fp32": 5, "int4": 7, "int8": 5}
    assert registry.verify() == ()


def test_a_damaged_model_is_pulled_again(registry: Registry, given: Path) -> None:
    pulled = pull("tiny", registry, catalog_of(folder(given)), convert=copied)
    (registry.path(pulled[1]) / "model.bin").unlink()
    pull("tiny", registry, catalog_of(folder(given)), convert=copied)
    assert registry.verify() == ()


def test_the_next_source_is_tried_and_the_failure_told(registry: Registry, site: Site, given: Path) -> None:
    wrong = web(site.put("/model.bin", WEIGHTS[::-1]), WEIGHTS)
    steps: list[Progress] = []
    pulled = pull("tiny", registry, catalog_of(wrong, folder(given)), report=steps.append, convert=copied)
    assert pulled[0].source == f"file:{given}"
    (told,) = [step.what for step in steps if step.stage == "note"]
    assert "model.bin: wrong checksum" in told
    assert f"trying file:{given}" in told


@pytest.mark.parametrize("before", [False, True])
def test_when_no_source_works_each_failure_is_told_and_the_store_is_as_it_was(
    registry: Registry, site: Site, tmp_path: Path, *, before: bool
) -> None:
    if before:
        add(registry, tmp_path)
    was = contents(registry.root)
    cut = web(site.put("/cut/model.bin", Page(WEIGHTS, cut_at=100_000, ranges=False)))
    sources = (cut, web(site.root + "/none/model.bin"), folder(tmp_path / "nowhere"))
    with pytest.raises(PullFailed) as failed:
        pull("tiny", registry, catalog_of(*sources), convert=copied, force=True)
    assert contents(registry.root) == was
    said = str(failed.value).splitlines()
    assert [source for source, _ in failed.value.failures] == [source.label for source in sources]
    assert "/cut/model.bin: the connection failed" in said[1]
    assert "/none/model.bin: the server answers 404" in said[2]
    assert "nowhere: there is no such file or folder" in said[3]


def test_a_source_that_cannot_be_converted_is_a_failed_source(registry: Registry, given: Path) -> None:
    with pytest.raises(PullFailed, match=r"cannot convert model\.bin: it holds no encoder"):
        pull("tiny", registry, catalog_of(folder(given)), convert=refused)
    assert contents(registry.root) == {}


def test_only_sources_of_the_kind_asked_for_are_tried(registry: Registry, site: Site, given: Path) -> None:
    known = catalog_of(web(site.put("/model.bin", WEIGHTS)), folder(given))
    pull("tiny", registry, known, kind="file", convert=copied)
    assert site.seen == []
    with pytest.raises(PullFailed, match="no such source"):
        pull("tiny", registry, known, kind="hf", convert=copied, force=True)


def test_a_folder_can_stand_in_for_the_sources(registry: Registry, site: Site, given: Path) -> None:
    pulled = pull("tiny", registry, catalog_of(web(site.root + "/none")), origin=str(given), convert=copied)
    assert pulled[0].source == f"file:{given}"
    assert pulled[0].source_files[0].checked == "nothing"


def test_a_mirror_can_stand_in_and_is_checked_by_the_same_pins(registry: Registry, site: Site) -> None:
    known = catalog_of(web("https://example.invalid/model.bin"))
    site.put("/mirror/model.bin", WEIGHTS)
    site.put("/false/model.bin", WEIGHTS[::-1])
    with pytest.raises(PullFailed, match="wrong checksum"):
        pull("tiny", registry, known, origin=site.root + "/false", convert=copied)
    assert (
        pull("tiny", registry, known, origin=site.root + "/mirror/", convert=copied)[0].source == site.root + "/mirror"
    )


def test_a_folder_without_a_model_in_it_is_told(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"whisper model comes with model\.bin or model\.safetensors"):
        pull("tiny", registry, catalog_of(folder(tmp_path)), origin=str(tmp_path), convert=copied)


def test_an_unknown_name_touches_nothing(registry: Registry) -> None:
    with pytest.raises(UnknownModel):
        pull("none", registry, catalog.load(), convert=copied)
    assert not registry.root.exists()


def test_a_pull_killed_half_way_leaves_nothing_and_the_next_one_works(registry: Registry, site: Site) -> None:
    page = Page(WEIGHTS, stall_at=500_000)
    url = site.put("/model.bin", page)
    with other_process(registry, url) as process:
        wait_for(page.stalled)
        part = registry.root / ".staging" / "tiny" / "try-0" / "source" / "model.bin"
        wait_until(lambda: part.exists() and part.stat().st_size > 0)
        process.send_signal(signal.SIGKILL)
    assert part.exists()
    assert registry.scan() == Listing((), ())
    page.go.set()
    assert len(pull("tiny", registry, catalog_of(web(url)), convert=copied)) == 2
    assert list((registry.root / ".staging").iterdir()) == []


def test_left_overs_of_a_dead_pull_go_with_the_next_change_of_any_model(
    registry: Registry, site: Site, tmp_path: Path
) -> None:
    page = Page(WEIGHTS, stall_at=500_000)
    with other_process(registry, site.put("/model.bin", page)) as process:
        wait_for(page.stalled)
        add(registry, tmp_path / "first", model="other")
        assert (registry.root / ".staging" / "tiny").exists(), "it is busy, not dead"
        process.send_signal(signal.SIGKILL)
    add(registry, tmp_path / "second", model="other")
    assert list((registry.root / ".staging").iterdir()) == []


def test_two_processes_that_pull_the_same_model_fetch_it_once(registry: Registry, site: Site) -> None:
    page = Page(WEIGHTS, stall_at=500_000)
    url = site.put("/model.bin", page)
    with other_process(registry, url) as first:
        wait_for(page.stalled)
        with other_process(registry, url) as second:
            assert second.stdout is not None
            assert "another process is changing tiny" in second.stdout.readline()
            page.go.set()
            said = [process.communicate(timeout=20) for process in (first, second)]
    assert [out.splitlines()[-1] for out, _ in said] == ["['tiny:fp32', 'tiny:int8']"] * 2, said
    assert len(site.gets("/model.bin")) == 1
    assert registry.verify() == ()


def test_two_models_are_pulled_at_the_same_time(registry: Registry, site: Site, given: Path) -> None:
    page = Page(WEIGHTS, stall_at=500_000)
    slow = catalog_of(web(site.put("/model.bin", page)), name="slow")
    thread = threading.Thread(target=lambda: pull("slow", registry, slow, convert=copied))
    thread.start()
    wait_for(page.stalled)
    pull("tiny", registry, catalog_of(folder(given)), convert=copied)
    page.go.set()
    thread.join()
    assert {manifest.model for manifest in registry.list()} == {"slow", "tiny"}


FULL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))\n"
"""A write beyond the limit fails in the middle, as on a full disk."""


def test_a_disk_that_is_full_is_told_with_the_file_and_leaves_the_store(registry: Registry, site: Site) -> None:
    with other_process(registry, site.put("/model.bin", WEIGHTS), before=FULL_DISK) as process:
        _, said = process.communicate(timeout=20)
    assert "StoreUnwritable: Cannot write " in said
    assert "/source/model.bin: File too large. The store is as it was." in said
    assert contents(registry.root) == {}


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path, given: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreUnwritable, match="/store"):
        pull("tiny", Registry(tmp_path / "store"), catalog_of(folder(given)), convert=copied)
