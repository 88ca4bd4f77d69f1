from pathlib import Path

from service.backends.torch.probe import GpuProbe, TorchProbe
from service.cli.findings import Finding
from service.cli.gpu_checks import absent_torch, gpu_finding, probed_torch
from service.engine.device import Gpu, Gpus
from service.engine.gpu import parse_gpus, read_gpus

NONE = Gpus((), "no NVIDIA driver is installed")
T4 = Gpus((Gpu("Tesla T4", 15360 * 2**20, 100 * 2**20),), "by nvidia-smi", driver="580.1")
ON_CPU = TorchProbe("2.13.0+cpu", None, reason="computes on the CPU: torch was built without CUDA")


def probed(probe: TorchProbe, gpus: Gpus) -> list[Finding]:
    return list(probed_torch(probe, gpus))


def test_a_broken_driver_is_a_warning_with_what_to_do(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    tool.chmod(0o755)
    finding = gpu_finding(read_gpus(tool=str(tool)))
    assert (finding.state, finding.detail) == ("warn", "nvidia-smi fails: no driver")
    assert "Mend the driver" in finding.advice


def test_gpus_are_told_with_their_memory() -> None:
    assert gpu_finding(T4).detail == "Tesla T4: 100 of 15360 MiB free (driver 580.1)"
    assert gpu_finding(parse_gpus("")).detail.startswith("none: ")


def test_torch_is_missed_only_where_there_is_a_gpu() -> None:
    assert absent_torch(NONE).state == "ok"
    idle = absent_torch(T4)
    assert (idle.state, idle.detail) == ("warn", "not installed: Tesla T4 is not used")
    assert "requirements-cuda.lock" in idle.advice
    assert 'pip install "wren-asr[torch]"' in idle.advice
    assert absent_torch(Gpus((), "none", asked="cuda")).state == "fail"


def test_a_build_without_cuda_is_fine_where_there_is_no_gpu() -> None:
    (finding,) = probed(ON_CPU, NONE)
    assert (finding.state, finding.advice) == ("ok", "")
    assert finding.detail == "torch 2.13.0+cpu: computes on the CPU: torch was built without CUDA"


def test_a_build_without_cuda_beside_a_gpu_is_a_warning_with_the_build_to_install() -> None:
    (finding,) = probed(ON_CPU, T4)
    assert (finding.state, finding.advice.startswith("Install the build with CUDA: ")) == ("warn", True)


def test_a_driver_that_is_too_old_is_told_with_the_one_that_is_needed() -> None:
    why = "computes on the CPU: The NVIDIA driver on your system is too old (found version 11040)"
    (finding,) = probed(TorchProbe("2.13.0", "13.0", reason=why), T4)
    assert (finding.state, finding.detail) == ("warn", f"torch 2.13.0 for CUDA 13.0: {why}")
    assert "driver that knows CUDA 13.0" in finding.advice


def test_each_gpu_has_a_line() -> None:
    gpus = (GpuProbe("cuda:0: Tesla T4", 0.25), GpuProbe("cuda:1", failure="no kernel image"))
    found = probed(TorchProbe("2.13.0", "13.0", gpus, reason="1 of 2 GPUs compute"), T4)
    assert [(one.state, one.detail.partition(": ")[2]) for one in found] == [
        ("ok", "cuda:0: Tesla T4: a small run took 0.25 ms"),
        ("warn", "cuda:1: no kernel image"),
    ]


def test_what_was_asked_for_and_cannot_be_had_is_a_failure() -> None:
    refused = TorchProbe("2.13.0+cpu", None, refusal="WREN_DEVICE=cuda cannot be had: no driver")
    (finding,) = probed(refused, Gpus((), "none", asked="cuda"))
    assert finding.state == "fail"
    assert "cannot be had" in finding.detail
