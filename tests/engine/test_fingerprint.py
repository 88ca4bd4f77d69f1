import re
from dataclasses import replace

import pytest

from model_store.registry import Registry
from service.engine.device import Gpu, Gpus, read_device
from service.engine.fingerprint import Conditions, Machine, key, machine
from tests.engine.hosting import manifest_of
from tests.store import STORE

ONE_CORE = Conditions(threads=1, executors=None, memory_class=4)
MACHINE = Machine("x86_64", "a CPU", 8, ("avx2", "avx512-vnni"), {"onnxruntime": "1.2", "torch": "2.0"})
MANIFEST = Registry(STORE).get("whisper-tiny.en", "int8")
KEY = key(MANIFEST, MACHINE, ONE_CORE)


def test_a_key_is_fit_for_a_file_name() -> None:
    assert re.fullmatch("[0-9a-f]{16}", KEY)


@pytest.mark.parametrize(
    "other",
    [
        replace(MACHINE, architecture="aarch64"),
        replace(MACHINE, cpu="another CPU"),
        replace(MACHINE, cores=4),
        replace(MACHINE, instructions=("avx2",)),
        replace(MACHINE, versions={"onnxruntime": "1.3", "torch": "2.0"}),
    ],
)
def test_other_hardware_or_another_runtime_is_measured_anew(other: Machine) -> None:
    assert key(MANIFEST, other, ONE_CORE) != KEY


@pytest.mark.parametrize(
    "other",
    [replace(ONE_CORE, threads=2), replace(ONE_CORE, executors=1), replace(ONE_CORE, memory_class=1)],
)
def test_another_share_of_the_machine_is_measured_by_itself(other: Conditions) -> None:
    assert key(MANIFEST, MACHINE, other) != KEY


@pytest.mark.parametrize("versions", [{"onnxruntime": "1.3", "openvino": "1"}, {"onnxruntime": "1.2", "openvino": "2"}])
def test_a_variant_on_two_runtimes_is_measured_anew_when_one_changes(versions: dict[str, str]) -> None:
    manifest = MANIFEST.model_copy(update={"runtime": "openvino"})
    known = replace(MACHINE, versions={"onnxruntime": "1.2", "openvino": "1"})
    assert key(manifest, replace(MACHINE, versions=versions), ONE_CORE) != key(manifest, known, ONE_CORE)


ON_TORCH = MANIFEST.model_copy(update={"runtime": "torch"})
WITH_GPU = replace(MACHINE, gpus=("H100", "driver 580.1"))


@pytest.mark.parametrize(
    "gpus", [(), ("T4", "driver 580.1"), ("H100", "driver 590.2"), ("H100", "H100", "driver 580.1")]
)
def test_a_variant_on_torch_is_measured_anew_with_other_gpus_or_another_driver(gpus: tuple[str, ...]) -> None:
    assert key(ON_TORCH, replace(WITH_GPU, gpus=gpus), ONE_CORE) != key(ON_TORCH, WITH_GPU, ONE_CORE)


def test_a_gpu_changes_nothing_for_what_computes_on_the_cpu() -> None:
    assert key(MANIFEST, WITH_GPU, ONE_CORE) == KEY


def test_what_was_measured_by_an_earlier_wren_is_found() -> None:
    assert key(manifest_of("tiny:int8"), MACHINE, ONE_CORE) == "2fd6678af872d8d2"


def test_a_machine_has_the_gpus_that_may_be_used() -> None:
    gpus = Gpus((Gpu("T4", 1, 1), Gpu("H100", 1, 1)), "by nvidia-smi", driver="580.1")
    assert machine(read_device(gpus=gpus)).gpus == ("T4", "H100", "driver 580.1")
    assert machine(read_device()).gpus == ()


def test_other_files_are_measured_anew() -> None:
    changed = MANIFEST.files[0].model_copy(update={"sha256": "0" * 64})
    manifest = MANIFEST.model_copy(update={"files": (changed, *MANIFEST.files[1:])})
    assert key(manifest, MACHINE, ONE_CORE) != KEY


def test_what_does_not_concern_the_variant_changes_nothing() -> None:
    other = replace(MACHINE, versions={"onnxruntime": "1.2", "torch": "3.0"})
    manifest = MANIFEST.model_copy(update={"license": "another", "files": MANIFEST.files[::-1]})
    assert key(manifest, other, ONE_CORE) == KEY


def test_a_process_that_is_kept_to_a_core_finds_what_was_measured_for_it() -> None:
    free, kept = read_device(affinity=64), read_device(affinity=1)
    assert machine(free) == machine(kept)
    assert Conditions.of(free, threads=1) == Conditions.of(kept, threads=1)


def test_a_machine_tells_the_versions_of_what_computes() -> None:
    assert re.search(r"onnxruntime \d+\.\d+", str(machine(read_device())))
