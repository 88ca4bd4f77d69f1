"""What this build of torch finds here: each GPU with the time of a small run, or why there is none."""

from dataclasses import dataclass

import torch

from service.backends.torch.devices import Cuda, DeviceMissing, Gpus, on_one_line, usable


@dataclass(frozen=True, slots=True)
class GpuProbe:
    """A GPU, and why it does not work (empty: it does)."""

    device: str
    run_ms: float = 0.0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class TorchProbe:
    """A build of torch, and what it computes on.

    Attributes:
        version: of torch.
        cuda: the version of CUDA that it was built for; None for a build without.
        gpus: those that it finds.
        reason: why it computes where it does, or `refusal` why it does not do what was asked.
    """

    version: str
    cuda: str | None
    gpus: tuple[GpuProbe, ...] = ()
    reason: str = ""
    refusal: str = ""


def probe_torch(asked: str, gpus: Gpus | None = None) -> TorchProbe:
    """With the devices that were asked for, as the setting has them."""
    gpus = gpus or Cuda()
    found: tuple[GpuProbe, ...] = ()
    if asked != "cpu" and not gpus.missing():
        found = tuple(_probe(index, gpus) for index in range(gpus.count()))
    reason = refusal = ""
    try:
        reason = usable(asked, gpus).reason
    except DeviceMissing as error:
        refusal = str(error)
    return TorchProbe(str(torch.__version__), torch.version.cuda, found, reason, refusal)


def _probe(index: int, gpus: Gpus) -> GpuProbe:
    device = torch.device("cuda", index)
    try:
        gpus.run_ms(device)  # the first run loads libraries
        return GpuProbe(gpus.describe(device), gpus.run_ms(device))
    except RuntimeError as error:
        return GpuProbe(str(device), failure=on_one_line(error))
