"""What `WREN_DEVICE` says in; the devices that torch computes on, with the reason, out.

A GPU counts if a product in float16 comes out right on it: that torch lists it says little.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

SIZE = 64
MIB = 2**20
CPU = torch.device("cpu")


class DeviceMissing(RuntimeError):
    """A GPU was asked for by name and cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Devices:
    """Where to compute, one replica of a variant on each; and why there."""

    devices: tuple[torch.device, ...]
    reason: str


class Gpus(Protocol):
    """The GPUs as torch sees them."""

    def missing(self) -> str:
        """Why there is none; empty if there are some."""
        ...

    def count(self) -> int: ...

    def describe(self, device: torch.device) -> str:
        """Its number, name, memory and compute capability."""
        ...

    def run_ms(self, device: torch.device) -> float:
        """Milliseconds of a small product in float16.

        Raises:
            RuntimeError: it fails, or comes out wrong.
        """
        ...


class Cuda:
    """See `Gpus`."""

    def missing(self) -> str:
        if not torch.backends.cuda.is_built():
            return f"torch {torch.__version__} was built without CUDA"
        # As nvidia-smi numbers them; CUDA's own order is by speed. It is read once, when the driver is first called.
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:  # what torch raises for a driver that is missing or too old
            return on_one_line(error)
        return "" if torch.cuda.device_count() else "torch lists no GPU"

    def count(self) -> int:
        return torch.cuda.device_count()

    def describe(self, device: torch.device) -> str:
        found = torch.cuda.get_device_properties(device)
        memory = f"{found.total_memory // MIB} MiB"
        return f"{device}: {found.name}, {memory}, compute capability {found.major}.{found.minor}"

    def run_ms(self, device: torch.device) -> float:
        whole = torch.arange(SIZE * SIZE, dtype=torch.float32).reshape(SIZE, SIZE) % 5  # exact in float16
        matrix = whole.to(device, torch.float16)
        started = time.perf_counter()
        product = (matrix @ matrix).float().cpu()
        run_ms = 1e3 * (time.perf_counter() - started)
        if not torch.equal(product, whole @ whole):
            raise RuntimeError("it computes a wrong product")
        return run_ms


def usable(asked: str, gpus: Gpus | None = None) -> Devices:
    """The devices for what is asked: `auto`, `cpu`, `cuda`, or some of `cuda:N`.

    Raises:
        DeviceMissing: a GPU is asked for, and there is none that works; or one of those that are named does not.
    """
    if asked == "cpu":
        return Devices((CPU,), "computes on the CPU: WREN_DEVICE=cpu")
    gpus = gpus or Cuda()
    why = gpus.missing()
    named = [torch.device(name) for name in asked.split(",") if ":" in name]
    there = [] if why else [torch.device("cuda", index) for index in range(gpus.count())]
    faults = {device: fault for device in named or there if (fault := why or _fault(device, there, gpus))}
    working = tuple(device for device in named or there if device not in faults)
    told = why or "; ".join(f"{device}: {fault}" for device, fault in faults.items())
    if working and not (named and faults):
        reason = f"{len(working)} of {len(there)} GPUs compute" + (f"; {told}" if told else "")
        return Devices(working, reason)
    if asked != "auto":
        advice = "wren doctor tells what to do; WREN_DEVICE=cpu does without"
        raise DeviceMissing(f"WREN_DEVICE={asked} cannot be had: {told} ({advice})")
    return Devices((CPU,), f"computes on the CPU: {told}")


def _fault(device: torch.device, there: Sequence[torch.device], gpus: Gpus) -> str:
    """Why a GPU is of no use; empty if it is."""
    if device not in there:
        return f"there are {len(there)} GPUs, counted from 0"
    try:
        gpus.run_ms(device)
    except RuntimeError as error:
        return on_one_line(error)
    return ""


def limit_memory(devices: Sequence[torch.device], limit_bytes: int) -> None:
    """Let torch take no more than so much of each GPU: what passes it runs out of memory, as if there were no more."""
    for device in devices:
        if device.type == "cuda":
            there_bytes = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / there_bytes), device)


def peak_bytes() -> int:
    """The most that this process ever had of one GPU for weights, caches and the like; 0 if it uses none."""
    return _most(torch.cuda.max_memory_allocated)


def used_bytes() -> int:
    """What it has now of the fullest one."""
    return _most(torch.cuda.memory_allocated)


def _most(of: Callable[[int], int]) -> int:
    return max(map(of, range(torch.cuda.device_count()))) if torch.cuda.is_initialized() else 0


def on_one_line(error: BaseException) -> str:
    """Torch's own words, of which there are many, without those on how to debug kernels."""
    return " ".join(str(error).partition("CUDA kernel errors might be")[0].split())[:300].rstrip(". ")
