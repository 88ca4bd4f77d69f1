import math

import pytest

from service.engine.budget import Asked, deployment_budget, gpu_memory_limit, memory_limit, what_if
from service.engine.device import Device, Gpu, Gpus, Limit
from service.settings import Settings

GIB = 2**30
DEVICE = Device("x86_64", "cpu", 2, "the quota", GIB, "the container's memory limit", ())


def test_without_settings_the_machine_limits() -> None:
    budget = deployment_budget(Settings(), DEVICE)
    assert budget.memory == Limit(GIB, "the container's memory limit")
    assert budget.cores == Limit(2, "the quota")
    assert budget.latency.amount == math.inf
    assert budget.wer_loss == Limit(1.0, "the default")
    assert budget.prefer == "balanced"


def test_settings_limit_within_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MEMORY", "300MB"), ("LATENCY", "0.2s"), ("MAX_WER_LOSS", "inf"), ("PREFER", "speed")):
        monkeypatch.setenv(f"WREN_{name}", value)
    budget = deployment_budget(Settings(threads=1), DEVICE)
    assert budget.memory == Limit(300_000_000, "WREN_MEMORY", chosen=True)
    assert budget.cores == Limit(1, "WREN_THREADS", chosen=True)
    assert budget.latency == Limit(200, "WREN_LATENCY", chosen=True)
    assert budget.wer_loss == Limit(math.inf, "WREN_MAX_WER_LOSS", chosen=True)
    assert budget.prefer == "speed"


def test_a_setting_makes_no_memory() -> None:
    limit = memory_limit(Settings(memory=4 * GIB), DEVICE)
    assert limit.amount == GIB
    assert limit.reason.startswith("the container's memory limit; WREN_MEMORY allows 4295 MB")


def test_unknown_memory_limits_nothing() -> None:
    unknown = Device("arm64", "cpu", 2, "", 0, "unknown", ())
    assert memory_limit(Settings(), unknown) == Limit(math.inf, "unknown")
    assert memory_limit(Settings(memory=GIB), unknown) == Limit(GIB, "WREN_MEMORY", chosen=True)


ONE = Gpu("H100", 80 * GIB, 70 * GIB)
OTHER = Gpu("T4", 16 * GIB, 15 * GIB)


def test_a_gpu_has_what_is_free_or_what_is_set() -> None:
    gpus = Gpus((ONE,), "by nvidia-smi")
    assert gpu_memory_limit(Settings(), gpus) == Limit(70 * GIB, "free on H100")
    assert gpu_memory_limit(Settings(gpu_memory=75 * GIB), gpus) == Limit(75 * GIB, "WREN_GPU_MEMORY", chosen=True)
    beyond = gpu_memory_limit(Settings(gpu_memory=90 * GIB), gpus)
    assert (beyond.amount, beyond.chosen) == (80 * GIB, False)
    assert beyond.reason.startswith("the GPU's memory; WREN_GPU_MEMORY allows 96.7 GB")


def test_of_several_gpus_the_fullest_counts_for_each_has_a_copy() -> None:
    gpus = Gpus((ONE, OTHER), "by nvidia-smi")
    assert gpu_memory_limit(Settings(), gpus) == Limit(15 * GIB, "free on T4")
    assert gpu_memory_limit(Settings(gpu_memory=75 * GIB), gpus).amount == 16 * GIB


def test_a_setting_makes_no_gpu() -> None:
    none = Gpus((), "WREN_DEVICE=cpu")
    assert gpu_memory_limit(Settings(gpu_memory=GIB), none) == Limit(0, "WREN_DEVICE=cpu")


def test_what_is_asked_for_is_taken_and_the_rest_stays() -> None:
    budget = deployment_budget(Settings(), DEVICE)
    tried = what_if(budget, Asked(memory_bytes=8 * GIB, gpu_memory_bytes=GIB, max_wer_loss=0.0, origin="--x"))
    assert tried.memory == Limit(8 * GIB, "--x", chosen=True)
    assert tried.gpu_memory == Limit(GIB, "--x", chosen=True)
    assert tried.wer_loss == Limit(0.0, "--x", chosen=True)
    assert (tried.cores, tried.latency, tried.prefer) == (budget.cores, budget.latency, "balanced")
    assert what_if(budget, Asked()) == budget
