"""Settings, what is asked for and the machine in; the budget, each limit with its origin, out. Pure."""

import math
from dataclasses import dataclass, replace

from service.engine.device import Device, Gpus, Limit
from service.engine.plan import Budget, Prefer
from service.settings import Settings
from service.units import shown_size

DEFAULT_WER_LOSS = 1.0
"""Points: one word in a hundred, which hardly anybody notices in a transcript."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A budget to try in place of the deployment's own; None leaves a limit as it is.

    Attributes:
        origin: how what is asked for is called, as part of a sentence.
    """

    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    cores: int | None = None
    latency_ms: float | None = None
    max_wer_loss: float | None = None
    prefer: Prefer | None = None
    origin: str = "asked for"

    def limit(self, amount: float | None, otherwise: Limit) -> Limit:
        return otherwise if amount is None else Limit(amount, self.origin, chosen=True)


def deployment_budget(settings: Settings, device: Device) -> Budget:
    """What the server itself keeps to: the settings within what the machine or the container allows."""
    loss, latency_ms = settings.max_wer_loss, settings.latency
    return Budget(
        memory=memory_limit(settings, device),
        cores=Limit(device.cores, device.cores_reason)
        if settings.threads is None
        else Limit(settings.threads, "WREN_THREADS", chosen=True),
        gpu_memory=gpu_memory_limit(settings, device.gpus),
        latency=Limit(math.inf, "no limit") if latency_ms is None else Limit(latency_ms, "WREN_LATENCY", chosen=True),
        wer_loss=Limit(DEFAULT_WER_LOSS, "the default")
        if loss is None
        else Limit(loss, "WREN_MAX_WER_LOSS", chosen=True),
        prefer=settings.prefer,
    )


def memory_limit(settings: Settings, device: Device) -> Limit:
    """The setting, unless the machine has less; unlimited if neither is known."""
    there = Limit(device.memory_bytes or math.inf, device.memory_reason)
    if settings.memory is None:
        return there
    if settings.memory > there.amount:
        return Limit(there.amount, f"{there.reason}; WREN_MEMORY allows {shown_size(settings.memory)}")
    return Limit(settings.memory, "WREN_MEMORY", chosen=True)


def gpu_memory_limit(settings: Settings, gpus: Gpus) -> Limit:
    """The setting, unless the GPUs have less; it makes none where there is none."""
    there = min((gpu.memory_bytes for gpu in gpus.gpus), default=0)
    if settings.gpu_memory is None or not there:
        return gpus.memory
    if settings.gpu_memory > there:
        return Limit(there, f"the GPU's memory; WREN_GPU_MEMORY allows {shown_size(settings.gpu_memory)}")
    return Limit(settings.gpu_memory, "WREN_GPU_MEMORY", chosen=True)


def what_if(budget: Budget, asked: Asked) -> Budget:
    """The budget with what is asked for in place of its own limits, also where that is more than there is."""
    return replace(
        budget,
        memory=asked.limit(asked.memory_bytes, budget.memory),
        gpu_memory=asked.limit(asked.gpu_memory_bytes, budget.gpu_memory),
        cores=asked.limit(asked.cores, budget.cores),
        latency=asked.limit(asked.latency_ms, budget.latency),
        wer_loss=asked.limit(asked.max_wer_loss, budget.wer_loss),
        prefer=asked.prefer or budget.prefer,
    )
