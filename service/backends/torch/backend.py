"""A variant's folder with weights.safetensors in; a backend on GPUs, or on the CPU, out.

With several GPUs each has the weights, and each thread that computes has one of them.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from service.backends.base import BackendClosed, EncoderBatch
from service.backends.sequences import TokenRules
from service.backends.torch.memory import TorchMemory, row_bytes
from service.backends.torch.network import Layers, Network
from service.backends.torch.networks import load
from service.backends.torch.sequences import TorchSequences

ENCODER_ROWS = 32
"""Rows of an encoder batch on a GPU: enough to fill one with the smallest models."""

GPU_ROWS, CPU_ROWS = 256, 16
"""Rows of a decode batch."""


@dataclass(slots=True, eq=False)
class _Seat:
    """The threads that compute on a network: one, but for one that loads."""

    network: Network
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def taken(self) -> int:
        return sum(thread.is_alive() for thread in self.threads)


class TorchBackend:
    """See `service.backends.base.Backend`."""

    def __init__(
        self, folder: Path, *, devices: tuple[torch.device, ...], threads: int, encoder_threads: int | None = None
    ) -> None:
        """Load a variant.

        Args:
            folder: of the variant, with weights.safetensors, config.json and tokenizer.json.
            devices: to load it to; on each it computes the same.
            threads: that a decoder step may use on a CPU.
            encoder_threads: that an encoding may use there, as many as a step if left out.
        """
        self._threads, self._encoder_threads = threads, encoder_threads or threads
        self._gpu = devices[0].type == "cuda"
        self._seats: tuple[_Seat, ...] | None = tuple(_Seat(load(folder, device)) for device in devices)
        self._sizes, self._dtype = self._seats[0].network.sizes, self._seats[0].network.dtype
        self._bytes = sum(seat.network.memory_bytes for seat in self._seats)
        self._seating, self._own = threading.Lock(), threading.local()

    @property
    def memory_bytes(self) -> int:
        """The weights on all devices; caches come with `sequences`."""
        return self._bytes

    @property
    def device_bytes(self) -> int:
        """The part of it that is on GPUs."""
        return self._bytes if self._gpu else 0

    @property
    def takes_samples(self) -> bool:
        """Spectra are computed where the encoder is."""
        return True

    @property
    def encoder_rows(self) -> int:
        """On a CPU rows save nothing together."""
        return ENCODER_ROWS if self._gpu else 1

    @property
    def decoder_rows(self) -> int:
        return GPU_ROWS if self._gpu else CPU_ROWS

    def row_bytes(self, length: int) -> int:
        return row_bytes(self._sizes, self._dtype, length)

    @torch.inference_mode()
    def encode(self, batch: EncoderBatch) -> list[TorchMemory]:
        network = self._network()
        if self._gpu:
            return _encoded(network, batch)
        torch.set_num_threads(self._encoder_threads)  # of those that compute for this thread alone
        try:
            return [memory for index in range(batch.rows) for memory in _encoded(network, batch.row(index))]
        finally:
            torch.set_num_threads(self._threads)

    def sequences(
        self,
        rules: TokenRules,
        *,
        capacity: int,
        length: int,
        on_retry: Callable[[Exception], None] = lambda _: None,
    ) -> TorchSequences:
        return TorchSequences(self._network(), rules, capacity=capacity, length=length, on_retry=on_retry)

    def finish(self) -> None:
        if self._gpu:
            torch.cuda.current_stream(self._network().device).synchronize()

    def warmup(self) -> None:
        """Nothing is cold but kernels, and those that a window needs are warm once a window was computed."""

    def close(self) -> None:
        # Nothing else refers to the weights but what is being computed, and rows: the last one to let go frees them.
        self._seats = None
        self._own = threading.local()
        if self._gpu:
            torch.cuda.empty_cache()

    def _network(self) -> Network:
        """The network of this thread."""
        seats, own = self._seats, self._own
        if seats is None:
            raise BackendClosed
        if not hasattr(own, "network"):
            with self._seating:
                seat = min(seats, key=lambda seat: seat.taken)
                seat.threads.append(threading.current_thread())
            own.network = seat.network
            if not self._gpu:
                torch.set_num_threads(self._threads)
        if self._gpu:
            torch.cuda.set_device(own.network.device)  # another variant's may be another
        network: Network = own.network
        return network


def _encoded(network: Network, batch: EncoderBatch) -> list[TorchMemory]:
    layers = network.encode(batch)
    return [
        TorchMemory(
            Layers(
                tuple(one[row, :, :length] for one in layers.keys),
                tuple(one[row, :, :length] for one in layers.values),
            ),
            batch.log_weights[row, :length],
        )
        for row, length in enumerate(batch.lengths)
    ]
