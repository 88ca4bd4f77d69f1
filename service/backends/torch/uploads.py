"""Host arrays to tensors on the device, padded to lengths of which there are few."""

import numpy as np
import numpy.typing as npt
import torch


def sent(array: npt.NDArray[np.generic], length: int, device: torch.device, *, padding: float = 0) -> torch.Tensor:
    """[rows, n], cut or padded to [rows, length]; a GPU fetches it while the host goes on."""
    dtype = torch.int64 if array.dtype == np.int64 else torch.float32
    host = torch.full((len(array), length), padding, dtype=dtype, pin_memory=device.type == "cuda")
    host.numpy()[:, : array.shape[1]] = array[:, :length]
    return host.to(device, non_blocking=True)


def on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """As it is, there; a GPU fetches it while the host goes on."""
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def rounded(length: int, device: torch.device, *, step: int) -> int:
    """The length to compute: on a GPU whole steps, so that few shapes occur; on a CPU no more than there is."""
    return length if device.type == "cpu" else -(-length // step) * step
