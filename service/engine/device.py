"""The files in which Linux describes the machine in, a `Device` out: what this process may use of it.

A container sees all of the host in /proc; what it may use stands in its cgroup and its CPU affinity. The parsers take
the text of one file each; only `read_device` touches the disk. Where there is no /proc the operating system is asked.
"""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model_store.manifest import Runtime

UNLIMITED_BYTES = 2**60
"""cgroup v1 writes "no limit" as the largest number of pages: anything from here on is none."""

FEATURES = {
    # as /proc/cpuinfo names it: as people do
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_vnni": "avx512-vnni",
    "avx512_bf16": "avx512-bf16",
    "avx_vnni": "avx-vnni",
    "amx_int8": "amx-int8",
    "amx_bf16": "amx-bf16",
    "f16c": "f16c",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
}
"""The instructions that decide which precision is fast."""

INT8_FEATURES = frozenset({"avx512-vnni", "avx-vnni", "amx-int8", "dotprod", "i8mm"})
"""Any of these multiplies INT8 in one instruction; without one INT8 saves memory and hardly any time."""


@dataclass(frozen=True, slots=True)
class Limit:
    """An amount, and what set it; `chosen` if somebody did, and not the machine or a default."""

    amount: float
    reason: str
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; its memory may be shared with other processes, hence `free_bytes`."""

    name: str
    memory_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Gpus:
    """Those that may be used.

    Attributes:
        reason: why there is none, or where the figures come from.
        broken: whether there should be one: the driver's tool is there and fails.
        driver: its version.
        asked: the devices that were asked for, as the setting has it.
    """

    gpus: tuple[Gpu, ...]
    reason: str
    broken: bool = False
    driver: str = ""
    asked: str = "auto"

    def compute(self, runtime: Runtime) -> bool:
        """Whether variants of this runtime are computed on them."""
        return runtime == "torch" and bool(self.gpus)

    @property
    def memory(self) -> Limit:
        """What is free on the fullest one: a variant is on each of them."""
        least = min(self.gpus, key=lambda gpu: gpu.free_bytes, default=None)
        return Limit(0, self.reason) if least is None else Limit(least.free_bytes, f"free on {least.name}")


@dataclass(frozen=True, slots=True)
class Device:
    """What this process may use: whole cores, bytes of memory, the CPU's instructions that matter, and GPUs."""

    architecture: str
    cpu: str
    cores: int
    cores_reason: str
    memory_bytes: int
    memory_reason: str
    features: tuple[str, ...]
    gpus: Gpus = Gpus((), "not looked for")

    @property
    def fast_int8(self) -> bool:
        return not INT8_FEATURES.isdisjoint(self.features)


def parse_cpu_max(text: str) -> float | None:
    """Cores that a cgroup v2 `cpu.max` allows ("200000 100000" is 2.0), None for no limit."""
    quota, _, period = text.strip().partition(" ")
    return parse_quota(quota, period or "100000")


def parse_quota(quota: str, period: str) -> float | None:
    """Cores that a quota of microseconds a period allows; None for none ("max", -1) and for what is no number."""
    try:
        quota_us, period_us = int(quota), int(period)
    except ValueError:
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def parse_memory_limit(text: str) -> int | None:
    """Bytes that `memory.max`, `memory.high` (v2) or `memory.limit_in_bytes` (v1) allows, None for no limit."""
    try:
        limit = int(text)
    except ValueError:
        return None
    return limit if 0 < limit < UNLIMITED_BYTES else None


def parse_hierarchical_limit(stat: str) -> int | None:
    """Bytes by a `memory.stat` of v1, which knows the limits of cgroups above that a container does not see."""
    for line in stat.splitlines():
        name, _, amount = line.partition(" ")
        if name == "hierarchical_memory_limit":
            return parse_memory_limit(amount)
    return None


def parse_memory_total(meminfo: str) -> int | None:
    """Bytes of memory by /proc/meminfo."""
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) * 1024
    return None


def parse_cpu(cpuinfo: str) -> tuple[str, tuple[str, ...]]:
    """The CPU's name and its `FEATURES` by /proc/cpuinfo; every core is taken to be like the first."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    flags = set((fields.get("flags") or fields.get("features") or "").split())
    return fields.get("model name", ""), tuple(name for flag, name in FEATURES.items() if flag in flags)


def parse_cgroups(text: str) -> dict[str, str]:
    """/proc/self/cgroup as controller -> path; "" is the unified hierarchy of v2."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    return paths


def usable_cores(affinity: int, quota: float | None) -> Limit:
    """Whole cores, at least one: a thread more than the quota pays for is throttled in the middle of a step."""
    if quota is not None and quota < affinity:
        return Limit(max(1, int(quota)), f"the container's CPU quota of {quota:g}, of {affinity}")
    return Limit(max(1, affinity), "the cores that this process may run on")


def usable_memory(total: int | None, limit: int | None) -> Limit:
    if limit is not None and (total is None or limit < total):
        return Limit(limit, "the container's memory limit")
    return Limit(total or 0, "the machine's memory" if total else "unknown")


def read_device(
    root: Path = Path("/"), *, affinity: int | None = None, gpus: Gpus = Gpus((), "not looked for")
) -> Device:
    """Look at the machine under `root`, but for its GPUs (`gpu.py`).

    `affinity` is the number of cores that this process may run on, by default asked.
    """
    cpu, features = parse_cpu(_read(root / "proc/cpuinfo"))
    cgroups = parse_cgroups(_read(root / "proc/self/cgroup"))
    cores = usable_cores(_affinity() if affinity is None else affinity, _cpu_quota(root, cgroups))
    total = parse_memory_total(_read(root / "proc/meminfo")) or _physical_memory()
    memory = usable_memory(total, _memory_limit(root, cgroups))
    return Device(
        architecture=platform.machine(),
        cpu=cpu or platform.processor() or platform.machine(),
        cores=int(cores.amount),
        cores_reason=cores.reason,
        memory_bytes=int(memory.amount),
        memory_reason=memory.reason,
        features=features,
        gpus=gpus,
    )


def _cpu_quota(root: Path, cgroups: dict[str, str]) -> float | None:
    """The smallest quota of this cgroup and of those above it."""
    quotas = [parse_cpu_max(_read(folder / "cpu.max")) for folder in _folders(root, "", cgroups.get(""))]
    quotas += [
        parse_quota(_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip())
        for folder in _folders(root, "cpu", cgroups.get("cpu"))
    ]
    return min((quota for quota in quotas if quota is not None), default=None)


def _memory_limit(root: Path, cgroups: dict[str, str]) -> int | None:
    """The smallest of this cgroup and of those above it; from `memory.high` on a process is slowed until it stalls."""
    unified = list(_folders(root, "", cgroups.get("")))
    limits = [parse_memory_limit(_read(folder / name)) for folder in unified for name in ("memory.max", "memory.high")]
    for folder in _folders(root, "memory", cgroups.get("memory")):
        limits.append(parse_memory_limit(_read(folder / "memory.limit_in_bytes")))
        limits.append(parse_hierarchical_limit(_read(folder / "memory.stat")))
    return min((limit for limit in limits if limit is not None), default=None)


def _folders(root: Path, controller: str, path: str | None) -> Iterator[Path]:
    """The cgroup's folder and those above it. Inside a container `path` may be the host's and so not be there."""
    mount = root / "sys/fs/cgroup" / controller
    if path is None:
        return
    folder = mount / path.lstrip("/")
    while folder != mount:
        yield folder
        folder = folder.parent
    yield mount


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
