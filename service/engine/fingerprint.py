"""What a measurement holds for: this hardware, these versions, these files, this share of the machine."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Self

from model_store.manifest import Manifest, Runtime
from service.engine.device import Device

MEASURED_AS = 4
"""Counted up when what is measured changes."""

MEMORY_CLASS_BYTES = 2**28
"""Rows are limited by the memory there is; what differs by less than this is the same."""

DISTRIBUTIONS: dict[Runtime, str] = {"onnxruntime": "onnxruntime", "torch": "torch", "openvino": "openvino"}
"""The package that each runtime comes in."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware, whatever part of it this process may use, and what its arithmetic is done by."""

    architecture: str
    cpu: str
    cores: int
    instructions: tuple[str, ...]
    versions: dict[str, str]
    gpus: tuple[str, ...] = ()
    """Names of those that may be used, and the version of their driver."""

    def __str__(self) -> str:
        gpus = "".join(f", {name}" for name in self.gpus)
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        instructions = " ".join(self.instructions) or "no instructions that matter"
        return f"{self.cpu} ({self.architecture}, {self.cores} cores, {instructions}){gpus}, {versions}"


@dataclass(frozen=True, slots=True)
class Conditions:
    """The share of the machine that was measured with.

    Attributes:
        threads: as many as cores.
        executors: asked for; None for those that are fastest.
        memory_class: the memory that a process may use, in units of `MEMORY_CLASS_BYTES`.
    """

    threads: int
    executors: int | None
    memory_class: int

    @classmethod
    def of(cls, device: Device, *, threads: int, executors: int | None = None) -> Self:
        return cls(threads, executors, device.memory_bytes // MEMORY_CLASS_BYTES)


def machine(device: Device) -> Machine:
    """This machine, the same for every process on it: one that is kept to a core reads what was measured for it."""
    cores = os.cpu_count() or device.cores
    gpus = tuple(gpu.name for gpu in device.gpus.gpus)
    driver = (f"driver {device.gpus.driver}",) if gpus else ()
    return Machine(device.architecture, device.cpu, cores, device.features, _versions(), gpus + driver)


def key(manifest: Manifest, machine: Machine, conditions: Conditions) -> str:
    """16 hex digits that differ where a measurement may."""
    # Whatever encodes, onnxruntime decodes.
    versions = [machine.versions.get(runtime) for runtime in ("onnxruntime", manifest.runtime)]
    hardware = [machine.architecture, machine.cpu, machine.cores, machine.instructions, versions]
    if manifest.runtime == "torch":
        hardware.append(machine.gpus)
    files = sorted(file.sha256 for file in manifest.files)
    text = json.dumps([MEASURED_AS, hardware, files, asdict(conditions)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _versions() -> dict[str, str]:
    """Of the runtimes that are installed."""
    found = {}
    for runtime, distribution in DISTRIBUTIONS.items():
        try:
            found[str(runtime)] = version(distribution)
        except PackageNotFoundError:
            continue
    return found
