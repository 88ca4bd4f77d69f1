from dataclasses import dataclass, field

import pytest
import torch

from service.backends.torch.devices import CPU, Cuda, DeviceMissing, limit_memory, on_one_line, peak_bytes, usable
from service.backends.torch.probe import GpuProbe, probe_torch

ZERO, ONE, TWO = (torch.device("cuda", index) for index in range(3))
NO_KERNEL = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be async"
TOLD = "CUDA error: no kernel image is available for execution on the device"


@dataclass
class FakeGpus:
    """So many GPUs, some of which fail."""

    there: int = 3
    why: str = ""
    faults: dict[int, str] = field(default_factory=dict)

    def missing(self) -> str:
        return self.why

    def count(self) -> int:
        return self.there

    def describe(self, device: torch.device) -> str:
        return f"{device}: a card"

    def run_ms(self, device: torch.device) -> float:
        if device.index in self.faults:
            raise RuntimeError(self.faults[device.index])
        return 0.5


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_all_gpus_that_compute_are_taken(asked: str) -> None:
    assert usable(asked, FakeGpus()).devices == (ZERO, ONE, TWO)
    some = usable(asked, FakeGpus(faults={1: NO_KERNEL}))
    assert some.devices == (ZERO, TWO)
    assert some.reason == f"2 of 3 GPUs compute; cuda:1: {TOLD}"


def test_those_that_are_named_are_taken_in_their_order() -> None:
    found = usable("cuda:2,cuda:0", FakeGpus(faults={1: NO_KERNEL}))
    assert (found.devices, found.reason) == ((TWO, ZERO), "2 of 3 GPUs compute")


@pytest.mark.parametrize(
    ("gpus", "why"),
    [
        (FakeGpus(why="Found no NVIDIA driver on your system"), "Found no NVIDIA driver on your system"),
        (FakeGpus(there=1, faults={0: NO_KERNEL}), f"cuda:0: {TOLD}"),
    ],
)
def test_without_a_gpu_that_computes_the_cpu_does_and_says_why(gpus: FakeGpus, why: str) -> None:
    found = usable("auto", gpus)
    assert (found.devices, found.reason) == ((CPU,), f"computes on the CPU: {why}")
    with pytest.raises(DeviceMissing, match=r"WREN_DEVICE=cuda cannot be had: .*WREN_DEVICE=cpu does without") as error:
        usable("cuda", gpus)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("faults", "why"), [({}, "cuda:3: there are 3 GPUs, counted from 0"), ({0: "broken"}, "cuda:0: broken")]
)
def test_one_of_those_that_are_named_is_not_left_out_quietly(faults: dict[int, str], why: str) -> None:
    with pytest.raises(DeviceMissing, match=why):
        usable("cuda:0,cuda:3", FakeGpus(faults=faults))


def test_on_the_cpu_no_gpu_is_looked_for() -> None:
    assert usable("cpu", FakeGpus()).devices == (CPU,)


def test_what_is_probed_is_each_gpu_and_what_was_asked() -> None:
    probe = probe_torch("cuda:1", FakeGpus(there=2, faults={1: NO_KERNEL}))
    assert probe.version == str(torch.__version__)
    assert probe.gpus == (GpuProbe("cuda:0: a card", 0.5), GpuProbe("cuda:1", failure=TOLD))
    assert (probe.reason, "cuda:1: CUDA error" in probe.refusal) == ("", True)
    assert probe_torch("auto", FakeGpus(why="none")).reason == "computes on the CPU: none"
    assert probe_torch("cpu", FakeGpus()).gpus == ()


def test_a_product_that_comes_out_right_counts() -> None:
    assert Cuda().run_ms(CPU) > 0


def test_this_machine_has_gpus_or_says_why_not() -> None:
    found = usable("auto")
    assert found.reason
    assert found.devices == (CPU,) or all(device.type == "cuda" for device in found.devices)


def test_a_long_error_is_told_on_one_line() -> None:
    assert on_one_line(RuntimeError("The driver is too old.\n  Please update it.")) == (
        "The driver is too old. Please update it"
    )
    assert len(on_one_line(RuntimeError("x" * 1000))) == 300


def test_the_memory_of_a_cpu_is_not_limited_here() -> None:
    limit_memory((CPU,), 1)
    assert torch.ones(10).sum() == 10
    assert peak_bytes() == 0
