"""Computations of fixed shapes: on a GPU recorded as CUDA graphs and replayed, elsewhere simply done."""

import logging
import threading
from collections.abc import Callable, Hashable
from functools import cache

import torch

_log = logging.getLogger(__name__)

Compute = Callable[[], None]
"""Reads and writes tensors that stay where they are; no shape and no branch depends on what they hold."""

_recording = threading.Lock()
"""One thread of a process records at a time, on whatever GPU (torch, "CUDA Graphs")."""


class Graphs:
    """What was recorded for the rows of one decode batch. For one thread.

    A step is a hundred kernels of a microsecond each, and to start one takes five: replayed, they start together.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._records = device, device.type == "cuda"
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph | None] = {}

    def run(self, key: Hashable, compute: Compute) -> None:
        """Do it. The second time under a key it is recorded, for the first makes libraries and kernels ready."""
        if self._records and key in self._graphs and self._graphs[key] is None:
            self._graphs[key] = self._recorded(compute)
        graph = self._graphs.setdefault(key, None)
        if graph is not None:
            graph.replay()
        elif self._records:
            self._aside(compute)
        else:
            compute()

    def replays(self, key: Hashable) -> bool:
        """Whether it was recorded: then it is done as a whole or not at all."""
        return self._graphs.get(key) is not None

    def _recorded(self, compute: Compute) -> torch.cuda.CUDAGraph | None:
        """None if it could not be recorded, of which nothing is left: it is never tried again."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        # They are replayed one after another, so what they compute with is one memory.
        others = [other.pool() for other in self._graphs.values() if other is not None]
        pool = others[0] if others else None
        try:
            # Other threads may allocate meanwhile: a variant is being loaded, another GPU computes.
            with (
                _recording,
                torch.cuda.graph(
                    graph, pool=pool, stream=_side_stream(self._device), capture_error_mode="thread_local"
                ),
            ):
                compute()
        except RuntimeError as error:  # what CUDA cannot record, and a want of memory
            _log.warning("steps are not recorded: %s", error)
            self._records = False
            return None
        finally:
            torch.cuda.set_stream(stream)  # torch stays on its own if a recording fails as it ends
        return graph

    def _aside(self, compute: Compute) -> None:
        """Do it on the stream that it is going to be recorded on, in order with what comes before and after."""
        here, side = torch.cuda.current_stream(self._device), _side_stream(self._device)
        side.wait_stream(here)
        with torch.cuda.stream(side):
            compute()
        here.wait_stream(side)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One a GPU: each has a workspace of the libraries, which is kept."""
    return torch.cuda.Stream(device)
