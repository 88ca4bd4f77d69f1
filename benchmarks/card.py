"""What torch computes on, as figures name it: a GPU with its driver where one works, else the CPU, which is said.

A figure of the CPU must never stand where one of a GPU belongs: every table and every last line names the device.
"""

import os
from dataclasses import dataclass

import torch

from benchmarks import report
from service.backends.torch.devices import usable
from service.engine.gpu import read_gpus

NONE = "no GPU: these are figures of the CPU, and no row of a GPU's table"


@dataclass(frozen=True, slots=True)
class Card:
    """Where, why there, and with what.

    Attributes:
        device: the GPU's name, or `cpu`.
        driver: the GPU's; empty without one, and where nvidia-smi does not tell.
        torch: the version, with the build.
        cuda: that torch was built for; empty for none.
    """

    device: str
    reason: str
    driver: str
    torch: str
    cuda: str

    @property
    def gpu(self) -> bool:
        return self.device != "cpu"

    @property
    def title(self) -> str:
        """For tables."""
        told = f"{self.device}, driver {self.driver or 'unknown'}" if self.gpu else f"cpu ({NONE})"
        return f"{told}, torch {self.torch}"


def device() -> torch.device:
    """The first of those that WREN_DEVICE means: figures are of one card."""
    return usable(_asked()).devices[0]


def card() -> Card:
    """That device by name."""
    found, at = usable(_asked()), device()
    name = torch.cuda.get_device_properties(at).name if at.type == "cuda" else "cpu"
    driver = read_gpus(_asked()).driver if at.type == "cuda" else ""
    return Card(name, found.reason, driver, torch.__version__, torch.version.cuda or "")


def missing(names: list[str], why: str = "wren compress MODEL --recipe NAME makes one") -> None:
    """Say which variants are not measured."""
    if names:
        report.show(f"Not in the store ({why})", [""], [[name] for name in names])


def _asked() -> str:
    return os.environ.get("WREN_DEVICE", "auto")
