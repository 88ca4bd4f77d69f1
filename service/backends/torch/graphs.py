"""Computations of fixed shapes: on a GPU recorded as CUDA graphs and replayed, elsewhere simply done."""

import logging
from collections.abc import Callable, Hashable

import torch

_log = logging.getLogger(__name__)

Compute = Callable[[], None]
"""Reads and writes tensors that stay where they are; no shape and no branch depends on what they hold."""


class Graphs:
    """What was recorded for the rows of one decode batch. For one thread.

    A step is a hundred kernels of a microsecond each, and to start one takes five: replayed, they start together.
    """

    def __init__(self, device: torch.device) -> None:
        self._recording = device.type == "cuda"
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph | None] = {}

    def run(self, key: Hashable, compute: Compute) -> None:
        """Do it. The second time under a key it is recorded, for the first makes libraries and kernels ready."""
        if key in self._graphs and self._graphs[key] is None and self._recording:
            self._graphs[key] = self._recorded(compute)
        graph = self._graphs.setdefault(key, None)
        if graph is None:
            compute()
        else:
            graph.replay()

    def _recorded(self, compute: Compute) -> torch.cuda.CUDAGraph | None:
        """None if it could not be recorded, of which nothing is left: it is never tried again."""
        graph = torch.cuda.CUDAGraph()
        # They are replayed one after another, so what they compute with is one memory.
        others = [other.pool() for other in self._graphs.values() if other is not None]
        try:
            # Other threads may allocate meanwhile: a variant is being loaded, another GPU computes.
            with torch.cuda.graph(graph, pool=others[0] if others else None, capture_error_mode="thread_local"):
                compute()
        except RuntimeError as error:  # what CUDA cannot record, and a want of memory
            _log.warning("steps are not recorded: %s", error)
            self._recording = False
            return None
        return graph
