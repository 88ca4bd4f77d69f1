"""What `nvidia-smi` says in, the GPUs that may be used with their memory out; none, with the reason, where it fails."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

from service.engine.device import Gpu, Gpus

QUERY = ("--query-gpu=uuid,driver_version,name,memory.total,memory.free", "--format=csv,noheader,nounits")
TIMEOUT_S = 10.0
"""The driver wakes a GPU that sleeps first, which takes seconds."""

MIB = 2**20

CONTEXT_BYTES = 512 * MIB
"""Allowed for what CUDA itself takes of a GPU in each process, beside weights and caches: its context and its kernels.
It differs by card and driver, and nothing tells it."""


CPU_SERVES = "what needs none serves on the CPU, and `wren doctor` tells what to do"


def read_gpus(asked: str = "auto", *, tool: str = "nvidia-smi", visible: str | None = None) -> Gpus:
    """Ask the driver's own tool, which needs no library of ours.

    Args:
        asked: the devices that may be used, as the setting has it.
        tool: to ask.
        visible: in place of `CUDA_VISIBLE_DEVICES`, which the tool does not obey.
    """
    if asked == "cpu":
        return Gpus((), "WREN_DEVICE=cpu", asked=asked)
    shown = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    return replace(_allowed(_told(tool, shown), asked), asked=asked)


def unmet(gpus: Gpus) -> str | None:
    """What to warn an operator of: a GPU was asked for, or should be there, and there is none."""
    if gpus.gpus or not (gpus.broken or gpus.asked.startswith("cuda")):
        return None
    return f"no GPU is used (WREN_DEVICE={gpus.asked}): {gpus.reason}; {CPU_SERVES}"


def _told(tool: str, visible: str | None) -> Gpus:
    found = shutil.which(tool)
    if found is None:
        return Gpus((), "no NVIDIA driver is installed")
    try:
        done = subprocess.run([found, *QUERY], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return Gpus((), f"nvidia-smi does not answer: {error}", broken=True)
    if done.returncode:
        told = (done.stdout.strip() or done.stderr.strip() or f"status {done.returncode}").splitlines()[0]
        return Gpus((), f"nvidia-smi fails: {told}", broken=True)
    return parse_gpus(done.stdout, visible)


def parse_gpus(text: str, visible: str | None = None) -> Gpus:
    """Lines of `UUID, DRIVER, NAME, MiB in all, MiB free`, of those that are visible by number or by UUID.

    A GPU that does not tell its memory counts as none.
    """
    lines = [[part.strip() for part in line.split(",")] for line in text.splitlines()]
    lines = [parts for parts in lines if len(parts) == 5 and all(amount.isdecimal() for amount in parts[3:])]
    if not lines:
        return Gpus((), "nvidia-smi lists no GPU with its memory")
    kept = lines if visible is None else _visible(lines, visible)
    gpus = tuple(Gpu(name, int(total) * MIB, int(free) * MIB) for _, _, name, total, free in kept)
    reason = "by nvidia-smi" if gpus else f"CUDA_VISIBLE_DEVICES={visible} shows none of {len(lines)}"
    return Gpus(gpus, reason, driver=lines[0][1])


def _visible(lines: Sequence[list[str]], names: str) -> list[list[str]]:
    """Those that CUDA would see, in its order: it stops at the first name that means none."""
    kept = []
    for name in map(str.strip, names.split(",")):
        meant = [
            parts
            for index, parts in enumerate(lines)
            if name == str(index) or (name.startswith("GPU-") and parts[0].startswith(name))
        ]
        if len(meant) != 1:
            break
        kept += meant
    return kept


def _allowed(found: Gpus, asked: str) -> Gpus:
    """Those that the setting names, or all."""
    indices = [int(name.partition(":")[2]) for name in asked.split(",") if ":" in name]
    if not found.gpus or not indices:
        return found
    if max(indices) >= len(found.gpus):
        return replace(found, gpus=(), reason=f"there are {len(found.gpus)} GPUs, counted from 0, and not {asked}")
    return replace(found, gpus=tuple(found.gpus[index] for index in indices))


def peak_gpu_bytes() -> int:
    """The most that this process ever took of one GPU, with what CUDA itself takes; 0 if it uses none."""
    if "torch" not in sys.modules:
        return 0
    from service.backends.torch.devices import peak_bytes  # noqa: PLC0415 - torch is an extra, and slow to import

    peak = peak_bytes()
    return peak + CONTEXT_BYTES if peak else 0


def used_gpu_bytes() -> int:
    """What its weights, caches and the like take of the fullest one now."""
    if "torch" not in sys.modules:
        return 0
    from service.backends.torch.devices import used_bytes  # noqa: PLC0415 - the same

    return used_bytes()
