"""What `wren doctor` says of GPUs: what the driver's tool and torch found in, findings out."""

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.cli.findings import Finding
from service.engine.device import Gpus

if TYPE_CHECKING:
    from service.backends.torch.probe import TorchProbe

MIB = 2**20

INSTALL = 'pip install -r requirements-cuda.lock (in a checkout: make serve GPU=1), or pip install "wren-asr[torch]"'


def torch_findings(gpus: Gpus) -> Iterator[Finding]:
    """Whether torch is there, and what it computes on."""
    if importlib.util.find_spec("torch") is None:
        yield absent_torch(gpus)
        return
    try:
        from service.backends.torch.probe import probe_torch
    except (ImportError, OSError) as error:  # OSError: a shared library of it does not load
        yield Finding("torch", "warn", f"cannot be imported: {str(error).splitlines()[0]}", f"Install it: {INSTALL}")
        return
    yield from probed_torch(probe_torch(gpus.asked), gpus)


def gpu_finding(found: Gpus) -> Finding:
    """What the driver's tool says."""
    if found.broken:
        return Finding("gpu", "warn", found.reason, "The CPU is used. Mend the driver: nvidia-smi must list the GPU.")
    told = "; ".join(f"{gpu.name}: {gpu.free_bytes // MIB} of {gpu.memory_bytes // MIB} MiB free" for gpu in found.gpus)
    return Finding("gpu", "ok", f"{told} (driver {found.driver})" if told else f"none: {found.reason}")


def absent_torch(gpus: Gpus) -> Finding:
    """Torch is optional, but of use where there is a GPU."""
    if gpus.asked.startswith("cuda"):
        return Finding("torch", "fail", f"not installed, for WREN_DEVICE={gpus.asked}", f"Install it: {INSTALL}")
    if gpus.gpus:
        told = f"not installed: {gpus.gpus[0].name} is not used"
        return Finding("torch", "warn", told, f"To use it: {INSTALL}")
    return Finding("torch", "ok", "not installed (only variants of the runtime torch need it)")


def probed_torch(probe: "TorchProbe", gpus: Gpus) -> Iterator[Finding]:
    """What it computes on, or why it is the CPU and how to mend that."""
    build = f"torch {probe.version}" + (f" for CUDA {probe.cuda}" if probe.cuda else "")
    if probe.refusal:
        yield Finding("torch", "fail", f"{build}: {probe.refusal}", _remedy(probe))
    for gpu in probe.gpus:
        if gpu.failure:
            yield Finding("torch", "warn", f"{build}: {gpu.device}: {gpu.failure}", _remedy(probe))
        else:
            yield Finding("torch", "ok", f"{build}: {gpu.device}: a small run took {gpu.run_ms:.2f} ms")
    if probe.reason and not probe.gpus:
        idle = gpus.gpus or gpus.broken
        yield Finding("torch", "warn" if idle else "ok", f"{build}: {probe.reason}", _remedy(probe) if idle else "")


def _remedy(probe: "TorchProbe") -> str:
    if probe.cuda is None:
        return f"Install the build with CUDA: {INSTALL}"
    return f"Install an NVIDIA driver that knows CUDA {probe.cuda}, or set WREN_DEVICE=cpu."
