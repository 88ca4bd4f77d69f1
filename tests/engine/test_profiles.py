from dataclasses import replace
from pathlib import Path

from model_store.registry import Registry
from service.engine.device import read_device
from service.engine.fingerprint import Conditions
from service.engine.forming import EncodeCosts, Layout, Point
from service.engine.plan import Costs
from service.engine.profile import Profile, Service, Timings, costs
from service.engine.profiles import FOLDER, Profiles
from tests.store import STORE

MANIFEST = Registry(STORE).get("whisper-tiny.en", "int8")
CONDITIONS = Conditions(threads=2, executors=None, memory_class=4)
PROFILE = Profile(
    EncodeCosts((Point(1, 281, 10.0), Point(1, 469, 20.0))),
    rows=4,
    reason="4 rows: the best",
    speed=100.0,
    layout=Layout(2, 1),
    layout_reason="2 x 1 threads: the highest",
    timings=Timings((Point(1, 640, 1.5),), load_ms=300.0, row_bytes=2**20, speed=190.0),
    service=Service(
        idle_bytes=200 * 2**20,
        utterance_bytes=250 * 2**20,
        peak_bytes=300 * 2**20,
        file_bytes=40 * 2**20,
        latency_ms=80.0,
    ),
)


def profiles(store: Path) -> Profiles:
    return Profiles(store, read_device())


def test_what_is_kept_is_found_under_the_same_conditions_alone(tmp_path: Path) -> None:
    profiles(tmp_path).keep(MANIFEST, PROFILE, CONDITIONS)
    assert profiles(tmp_path).find(MANIFEST, CONDITIONS) == PROFILE
    assert profiles(tmp_path).find(MANIFEST, replace(CONDITIONS, executors=1)) is None
    assert profiles(tmp_path).refusal(MANIFEST, CONDITIONS) is None


def test_a_variant_cannot_run_until_it_is_seen_to_run(tmp_path: Path) -> None:
    kept = profiles(tmp_path)
    kept.keep(MANIFEST, PROFILE, CONDITIONS)
    kept.refuse(MANIFEST, "its process was killed", CONDITIONS)
    assert kept.refusal(MANIFEST, CONDITIONS) == "its process was killed"
    assert kept.find(MANIFEST, CONDITIONS) is None
    kept.keep(MANIFEST, PROFILE, CONDITIONS)
    assert kept.refusal(MANIFEST, CONDITIONS) is None


def test_what_there_was_no_time_for_is_remembered_beside_what_a_server_measures(tmp_path: Path) -> None:
    kept = profiles(tmp_path)
    assert not kept.skipped(MANIFEST, CONDITIONS)
    kept.skip(MANIFEST, CONDITIONS)
    kept.keep(MANIFEST, PROFILE, CONDITIONS)
    assert kept.skipped(MANIFEST, CONDITIONS)
    assert not kept.skipped(MANIFEST, replace(CONDITIONS, executors=1))


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    kept = profiles(tmp_path)
    kept.keep(MANIFEST, PROFILE, CONDITIONS)
    (path,) = (tmp_path / FOLDER).iterdir()
    for damaged in (b"", b"{}", b"\xff", path.read_bytes().replace(b'"rows": 4', b'"rows": "many"')):
        path.write_bytes(damaged)
        assert kept.find(MANIFEST, CONDITIONS) is None


def test_a_folder_that_cannot_be_written_to_is_told_of(tmp_path: Path) -> None:
    assert profiles(tmp_path).writable()
    assert not list((tmp_path / FOLDER).iterdir())
    (tmp_path / FOLDER).rmdir()
    (tmp_path / FOLDER).write_text("not a folder")
    assert not profiles(tmp_path).writable()
    profiles(tmp_path).keep(MANIFEST, PROFILE, CONDITIONS)
    assert profiles(tmp_path).find(MANIFEST, CONDITIONS) is None


def test_the_plan_gets_the_costs_of_a_whole_profile_alone() -> None:
    assert costs(PROFILE) == Costs(
        memory_bytes=260 * 2**20,
        row_bytes=2**20,
        load_ms=300.0,
        latency_ms=80.0,
        speed=190.0,
        executors=2,
        rows=4,
        idle_bytes=200 * 2**20,
    )
    assert costs(Profile(PROFILE.encode, 4, "given", 100.0)) is None
