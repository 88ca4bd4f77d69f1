"""A manifest in, its variant loaded, warm and measured out; and how executors share the cores."""

import logging
import time
from collections.abc import Sequence

from model_store.manifest import Manifest
from model_store.registry import Registry
from service.backends.base import Backend
from service.backends.onnx import OnnxBackend
from service.engine.device import Device
from service.engine.forming import Layout, best_layout, layouts
from service.engine.heap import give_back
from service.engine.lanes import BUCKETS
from service.engine.profile import Hosted, Profile, measure, throughput
from service.engine.profiles import Profiles
from service.errors import ModelUnavailable
from service.recognition import families
from service.recognition.recognizer import Recognizer

_log = logging.getLogger(__name__)

MEMORY_SHARE = 8
"""One part in so many of the memory is for the caches of decode batches."""

MOST_ROWS = 8
"""More save little on any machine that was measured, and each makes the others wait."""

TRIAL_S = 0.5
"""How long a layout is tried."""


def most_rows(memory_bytes: int, row_bytes: int, executors: int) -> int:
    """Rows of a decode batch that the memory has room for; `memory_bytes` is 0 if unknown."""
    if not memory_bytes:
        return MOST_ROWS
    return max(1, min(MOST_ROWS, memory_bytes // MEMORY_SHARE // executors // row_bytes))


class Loader:
    """Loads variants for the executors that `settle` chose. For one thread."""

    def __init__(self, registry: Registry, device: Device, *, threads: int, executors: int | None) -> None:
        self._registry, self._device, self._threads = registry, device, threads
        self._candidates = _candidates(threads, executors)
        self._profiles = Profiles(registry.root, device)
        self._conditions = f"{threads} threads, {executors or 'any'} executors, {device.memory_bytes >> 28} x 256 MiB"
        self.layout = self._candidates[0]

    def settle(self, manifest: Manifest) -> Hosted:
        """Load the variant that mostly serves, and take the layout that computes most of it, measured the first time.

        Raises:
            ModelUnavailable: a file is missing or damaged, or this runtime cannot run it.
        """
        kept = self._profiles.find(manifest, conditions=self._conditions)
        if kept is not None:
            profile, self.layout, reason = kept
            hosted = Hosted(manifest, self._recognizer(manifest, self.layout), profile)
        else:
            hosted, reason = self._best(manifest)
            self._profiles.keep(manifest, hosted.profile, self.layout, reason, conditions=self._conditions)
        _log.info("executors: %s", reason)
        return hosted

    def load(self, manifest: Manifest) -> Hosted:
        """Load another variant.

        Raises:
            ModelUnavailable: as above.
        """
        recognizer = self._recognizer(manifest, self.layout)
        conditions = f"{self._conditions}, {self.layout}"
        kept = self._profiles.find(manifest, conditions=conditions)
        profile = kept[0] if kept else self._measured(recognizer, self.layout)
        if not kept:
            self._profiles.keep(manifest, profile, self.layout, "as the default", conditions=conditions)
        return Hosted(manifest, recognizer, profile)

    def renew(self, lost: Hosted) -> Hosted:
        """Load a variant once more, which costs what it did: to measure it in the midst of work would mislead.

        Raises:
            ModelUnavailable: as above.
        """
        return Hosted(lost.manifest, self._recognizer(lost.manifest, self.layout), lost.profile)

    def _best(self, manifest: Manifest) -> tuple[Hosted, str]:
        """Try the candidates one after another, so that there is one copy of the weights at a time."""
        profiles: dict[Layout, Profile] = {}
        speeds: dict[Layout, float] = {}
        for layout in self._candidates:
            recognizer = self._recognizer(manifest, layout)
            profiles[layout] = self._measured(recognizer, layout)
            if len(self._candidates) == 1:
                return Hosted(manifest, recognizer, profiles[layout]), "the only way to share out the threads"
            speeds[layout] = throughput(recognizer, profiles[layout], layout, seconds=TRIAL_S)
            del recognizer
            give_back()
        self.layout, reason = best_layout(speeds)
        hosted = Hosted(manifest, self._recognizer(manifest, self.layout), profiles[self.layout])
        return hosted, f"{reason}, in windows a second"

    def _measured(self, recognizer: Recognizer, layout: Layout) -> Profile:
        row_bytes = recognizer.backend.row_bytes(BUCKETS[0])
        profile = measure(recognizer, most_rows=most_rows(self._device.memory_bytes, row_bytes, layout.executors))
        give_back()
        return profile

    def _recognizer(self, manifest: Manifest, layout: Layout) -> Recognizer:
        folder = self._registry.path(manifest)
        started = time.perf_counter()
        try:
            recognizer = Recognizer(self._backend(manifest, layout), families.load(folder))
            recognizer.warmup()
        except ModelUnavailable:
            raise
        except Exception as error:
            # onnxruntime's errors have no common class below Exception; whatever it is, the server goes on.
            reason = (str(error) or repr(error)).splitlines()[0].replace(f"{folder}/", "")
            raise ModelUnavailable(manifest.name, reason) from error
        _log.info("loaded %s in %.0f ms", manifest.name, 1e3 * (time.perf_counter() - started))
        return recognizer

    def _backend(self, manifest: Manifest, layout: Layout) -> Backend:
        if manifest.runtime != "onnxruntime":
            raise ModelUnavailable(manifest.name, f"its runtime {manifest.runtime} is not supported here")
        # A lone request uses cores that other executors leave idle.
        encoder_threads = min(self._threads, 2 * layout.threads)
        return OnnxBackend(self._registry.path(manifest), threads=layout.threads, encoder_threads=encoder_threads)


def _candidates(threads: int, executors: int | None) -> Sequence[Layout]:
    if executors is None:
        return layouts(threads)
    return (Layout(executors, max(1, threads // executors)),)
