import gc
from dataclasses import replace
from pathlib import Path

import pytest
from onnxruntime import InferenceSession

from model_store.registry import Registry
from service.backends.fake import FakeBackend
from service.engine.device import Device, Gpu, Gpus, read_device
from service.engine.fingerprint import Conditions
from service.engine.forming import Layout
from service.engine.lanes import BUCKETS
from service.engine.loading import Loader, most_rows
from service.engine.plan import Planned
from service.engine.profiles import FOLDER, Profiles
from service.errors import ModelUnavailable
from tests.engine.plans import COSTS, candidate
from tests.engine.recordings import TINY
from tests.engine.stores import cut, deafen, linked_store
from tests.store import STORE

MIB = 2**20


GPUS = Gpus((Gpu("A", 2048 * MIB, 100 * MIB), Gpu("B", 1024 * MIB, 1024 * MIB)), "by nvidia-smi")
MACHINE = Device("x86_64", "cpu", 4, "", 512 * MIB, "", (), GPUS)


class Costly(FakeBackend):
    """Whose rows have caches of 8 MiB."""

    def row_bytes(self, length: int) -> int:
        return 8 * MIB


@pytest.mark.parametrize(
    ("memory_mib", "executors", "rows"),
    [(512, 1, 8), (512, 2, 4), (128, 2, 1), (64, 4, 1), (24_000, 2, 16), (0, 4, 16)],
)
def test_the_rows_fit_the_memory_if_that_is_known(memory_mib: int, executors: int, rows: int) -> None:
    backend = Costly([], 1, 0, decoder_rows=16)
    assert most_rows(backend, MACHINE, executors, memory_bytes=memory_mib * MIB, gpu_bytes=MIB) == rows
    assert most_rows(backend, replace(MACHINE, memory_bytes=memory_mib * MIB), executors) == rows


@pytest.mark.parametrize(
    ("gpu_mib", "executors", "rows"), [(None, 2, 16), (512, 1, 8), (512, 2, 8), (512, 3, 4), (8, 1, 1), (0, 1, 256)]
)
def test_on_gpus_the_rows_fit_the_memory_of_each(gpu_mib: int | None, executors: int, rows: int) -> None:
    backend = Costly([], 1, 0, decoder_rows=256, device_bytes=1)
    gpu_bytes = None if gpu_mib is None else gpu_mib * MIB
    assert most_rows(backend, MACHINE, executors, memory_bytes=MIB, gpu_bytes=gpu_bytes) == rows


def loader(store: Path, *, threads: int, executors: int | None = None) -> Loader:
    return Loader(Registry(store), read_device(), threads=threads, executors=executors)


def test_what_was_measured_is_kept_for_the_next_start(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    manifest = Registry(store).get(TINY, "int8")
    first = loader(store, threads=2)
    profile = first.settle(manifest).profile
    assert first.layout in (Layout(1, 2), Layout(2, 1))
    assert profile.speed > 1
    assert 1 <= profile.rows <= 8
    assert len(list((store / FOLDER).iterdir())) == 1
    second = loader(store, threads=2)
    assert second.settle(manifest).profile == profile
    assert second.layout == first.layout


def test_executors_that_are_asked_for_are_taken(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    one = loader(store, threads=2, executors=4)
    one.settle(Registry(store).get(TINY, "int8"))
    assert one.layout == Layout(4, 1)


def test_what_was_planned_limits_rows_and_executors(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    manifest = Registry(store).get(TINY, "int8")
    loader(store, threads=2, executors=2).settle(manifest)
    costs = replace(COSTS, rows=8, executors=2)
    planned = Planned(candidate(manifest.name), costs, rows=1, executors=1)
    one = loader(store, threads=2, executors=2)
    assert one.settle(manifest, planned).profile.rows == 1
    assert one.layout == Layout(1, 2)


def test_rows_keep_to_the_memory_that_may_be_used(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    manifest = Registry(store).get(TINY, "int8")
    registry, device = Registry(store), read_device()
    measured = loader(store, threads=1).settle(manifest).profile
    Profiles(store, device).keep(manifest, replace(measured, rows=8), Conditions.of(device, threads=1))
    small = Loader(registry, device, threads=1, executors=None, memory_bytes=64 * MIB)
    assert small.settle(manifest).profile.rows == 1
    assert loader(store, threads=1).settle(manifest).profile.rows == 8


def test_a_damaged_profile_is_measured_anew(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    manifest = Registry(store).get(TINY, "int8")
    loader(store, threads=1).settle(manifest)
    (path,) = (store / FOLDER).iterdir()
    path.write_text("{}")
    loader(store, threads=1).settle(manifest)
    assert "rows" in path.read_text()


def test_a_store_that_cannot_be_written_to_is_measured_at_every_start(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    (store / FOLDER).write_text("not a folder")
    assert loader(store, threads=1).settle(Registry(store).get(TINY, "int8")).profile.rows >= 1


def test_a_damaged_variant_cannot_be_loaded(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    cut(store / TINY / "int8" / "encoder.onnx")
    with pytest.raises(ModelUnavailable, match=TINY):
        loader(store, threads=1).settle(Registry(store).get(TINY, "int8"))


def test_a_row_takes_the_memory_that_is_counted(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    backend = loader(store, threads=1).load(Registry(store).get(TINY, "int8")).recognizer.backend
    keys_and_values, float32 = 2 * 4 * 384, 4
    assert backend.row_bytes(BUCKETS[0]) == pytest.approx(keys_and_values * float32 * (BUCKETS[0] + 448), rel=0.25)


def sessions() -> int:
    return sum(issubclass(type(one), InferenceSession) for one in gc.get_objects())


def test_a_variant_that_hears_nonsense_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    deafen(store / TINY / "int8")
    gc.collect()
    before = sessions()
    with pytest.raises(ModelUnavailable, match=r"in its smoke test it heard .* for 'The quick brown fox") as refused:
        loader(store, threads=1, executors=1).load(Registry(store).get(TINY, "int8"))
    assert sessions() == before, refused.value  # though the error is still there, with its traceback


def test_variants_of_a_model_share_its_tokenizer() -> None:
    one, registry = loader(STORE, threads=1, executors=1), Registry(STORE)
    first, second = (one.load(registry.get(TINY, variant)).recognizer.family for variant in ("int8", "fp32"))
    assert first is second


def test_what_is_loaded_anew_is_tested_only_if_it_is_another_build(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    one = loader(store, threads=1, executors=1)
    hosted = one.load(Registry(store).get(TINY, "int8"))
    assert one.renew(hosted).manifest == hosted.manifest
    deafen(store / TINY / "int8")
    with pytest.raises(ModelUnavailable, match="smoke test"):
        one.renew(hosted)


def test_what_nobody_measured_takes_over_the_figures_of_another_variant_of_its_model(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8", f"{TINY}/fp32")
    one, registry = loader(store, threads=1), Registry(store)
    measured = one.settle(registry.get(TINY, "int8")).profile
    taken = one.load(registry.get(TINY, "fp32")).profile
    assert (taken.rows, taken.encode, taken.speed) == (measured.rows, measured.encode, measured.speed)
    assert taken.reason.startswith(f"as {TINY}:int8: ")
    assert taken.timings is taken.service is None  # the costs of one are not those of the other
    assert len(list((store / FOLDER).iterdir())) == 1


def test_what_is_timed_in_the_midst_of_work_is_not_kept(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8")
    assert loader(store, threads=1).load(Registry(store).get(TINY, "int8")).profile.speed > 1
    assert not (store / FOLDER).exists()
