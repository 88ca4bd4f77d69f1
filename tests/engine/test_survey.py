import logging
from pathlib import Path

import pytest

from model_store.manifest import Manifest
from model_store.registry import Registry
from service.engine.attempt import CannotRun, NotTried
from service.engine.device import read_device
from service.engine.lanes import BUCKETS
from service.engine.loading import Loader
from service.engine.profile import costs
from service.engine.profiles import FOLDER
from service.engine.survey import Surveyor, suffices
from service.engine.timing import WINDOWS_S
from tests.engine.recordings import TINY
from tests.engine.stores import cut, linked_store, ruin

LONG_S = 300.0


@pytest.mark.parametrize(
    ("left_s", "spent_s", "enough"),
    [(30.0, (), True), (0.0, (), False), (8.0, (7.0, 3.0), True), (7.0, (7.0, 3.0), False), (-2.0, (32.0,), False)],
)
def test_a_variant_is_begun_if_there_is_time_for_the_slowest_so_far(
    left_s: float, spent_s: tuple[float, ...], enough: bool
) -> None:
    assert suffices(left_s, spent_s) == enough


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose one good variant was profiled on one core, and whose other no machine can run."""
    store = linked_store(tmp_path_factory.mktemp("surveyed"), f"{TINY}/int8", f"{TINY}/fp32", "silero-vad/fp32")
    ruin(store / TINY / "fp32")
    surveyor(store).survey([variant(store, "fp32"), variant(store, "int8")], within_s=LONG_S)
    return store


def surveyor(store: Path) -> Surveyor:
    return Surveyor(Registry(store), read_device(), threads=1)


def variant(store: Path, name: str) -> Manifest:
    return Registry(store).get(TINY, name)


def kept(store: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (store / FOLDER).iterdir()}


def test_a_survey_finds_out_all_that_the_plan_asks(surveyed: Path) -> None:
    known = surveyor(surveyed)
    profile = known.profiles.find(variant(surveyed, "int8"), known.conditions)
    assert profile is not None
    assert profile.timings is not None
    assert profile.service is not None
    found = costs(profile)
    assert found is not None
    weights_bytes = variant(surveyed, "int8").total_bytes
    assert weights_bytes < profile.service.idle_bytes <= profile.service.utterance_bytes
    assert profile.service.utterance_bytes <= found.memory_bytes <= profile.service.peak_bytes < 2**30
    assert 0 < profile.service.file_bytes < profile.service.idle_bytes
    assert 0 < found.row_bytes < found.memory_bytes
    assert min(found.load_ms, found.latency_ms, found.speed, found.executors, found.rows) > 0
    assert len(profile.encode.points) == len(WINDOWS_S)
    assert {(step.rows, step.length) for step in profile.timings.steps} == {
        (rows, length) for rows in (1, 2, 4, 8) for length in BUCKETS
    }


def test_a_variant_that_cannot_run_hinders_no_other(surveyed: Path) -> None:
    known = surveyor(surveyed)
    reason = known.profiles.refusal(variant(surveyed, "fp32"), known.conditions)
    assert reason is not None
    assert "Protobuf parsing failed" in reason
    assert known.profiles.refusal(variant(surveyed, "int8"), known.conditions) is None


def test_what_is_known_is_not_measured_again(surveyed: Path) -> None:
    manifests = [variant(surveyed, "int8"), variant(surveyed, "fp32")]
    before = kept(surveyed)
    assert surveyor(surveyed).lacking(manifests) == []
    surveyor(surveyed).survey(manifests, within_s=LONG_S)
    assert kept(surveyed) == before


def test_a_variant_that_is_asked_for_is_tried_in_any_case(surveyed: Path) -> None:
    with pytest.raises(CannotRun, match="Protobuf parsing failed"):
        surveyor(surveyed).measure(variant(surveyed, "fp32"))


def test_a_server_reads_what_was_surveyed(surveyed: Path) -> None:
    registry, known = Registry(surveyed), surveyor(surveyed)
    manifest = variant(surveyed, "int8")
    loader = Loader(registry, read_device(), threads=1, executors=None)
    before = kept(surveyed)
    profile = known.profiles.find(manifest, known.conditions)
    assert loader.settle(manifest).profile == profile
    assert loader.load(manifest).profile == profile
    assert kept(surveyed) == before


def test_what_can_be_mended_is_not_held_against_a_variant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8", "silero-vad/fp32")
    manifest = variant(store, "int8")
    decoder = store / TINY / "int8" / "decoder.onnx"
    original = decoder.readlink()
    cut(decoder)
    surveyor(store).survey([manifest], within_s=LONG_S)
    assert f"{TINY}:int8 could not be measured" in caplog.text
    assert surveyor(store).lacking([manifest]) == [manifest]
    assert kept(store) == {}
    decoder.unlink()
    decoder.symlink_to(original)
    Registry(store).remove("silero-vad")
    with pytest.raises(NotTried, match="wren models pull silero-vad"):
        surveyor(store).measure(manifest)
    assert surveyor(store).profiles.refusal(manifest, surveyor(store).conditions) is None


@pytest.mark.parametrize("within_s", [0.0, 0.01])
def test_what_there_is_no_time_for_is_named_and_not_tried_at_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, within_s: float
) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    manifests = [variant(store, "int8")]
    with caplog.at_level(logging.INFO, "service.engine.survey"):
        surveyor(store).survey(manifests, within_s=within_s)
        before = kept(store)
        caplog.clear()
        surveyor(store).survey(manifests, within_s=LONG_S)
    assert f"run: wren profile {TINY}:int8" in caplog.text
    assert "measuring" not in caplog.text
    assert kept(store) == before
    assert surveyor(store).lacking(manifests) == manifests


def test_a_store_that_cannot_be_written_to_is_not_surveyed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    (store / FOLDER).write_text("not a folder")
    with caplog.at_level(logging.INFO, "service.engine"):
        surveyor(store).survey([variant(store, "int8")], within_s=LONG_S)
    assert "is not kept" in caplog.text
    assert "measuring" not in caplog.text
