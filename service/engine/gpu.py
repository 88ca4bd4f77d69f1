"""What `nvidia-smi` says in, the GPUs of this machine with their memory out; none, with the reason, where it fails."""

import shutil
import subprocess
from dataclasses import dataclass

from service.engine.device import Limit

QUERY = ("--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits")
TIMEOUT_S = 10.0
"""The driver wakes a GPU that sleeps first, which takes seconds."""

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; its memory may be shared with other processes, hence `free_bytes`."""

    name: str
    memory_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Gpus:
    """Those that there are. `reason` says why there is none, or where the figures come from."""

    gpus: tuple[Gpu, ...]
    reason: str
    broken: bool = False
    """Whether there should be one: the driver's tool is there and fails."""

    @property
    def memory(self) -> Limit:
        """What is free on the roomiest one: a variant is on one GPU."""
        best = max(self.gpus, key=lambda gpu: gpu.free_bytes, default=None)
        return Limit(0, self.reason) if best is None else Limit(best.free_bytes, f"free on {best.name}")


def read_gpus(tool: str = "nvidia-smi") -> Gpus:
    """Ask the driver's own tool: it sees what this process may use, and needs no library of ours."""
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
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> Gpus:
    """Lines of `NAME, MiB in all, MiB free`. A GPU that does not tell its memory counts as none."""
    gpus: list[Gpu] = []
    for line in text.splitlines():
        name, *amounts = (part.strip() for part in line.rsplit(",", 2))
        if len(amounts) == 2 and all(amount.isdecimal() for amount in amounts):
            total, free = (int(amount) * MIB for amount in amounts)
            gpus.append(Gpu(name, total, free))
    return Gpus(tuple(gpus), "by nvidia-smi") if gpus else Gpus((), "nvidia-smi lists no GPU with its memory")
