"""Variants in memory: loaded when first asked for, the least lately used dropped. Loading is for one thread."""

import logging
import time
from collections import OrderedDict

from model_store.manifest import Manifest
from model_store.registry import Registry
from service.backends.onnx import OnnxBackend
from service.errors import ModelUnavailable
from service.recognition import families
from service.recognition.recognizer import Recognizer

_log = logging.getLogger(__name__)

KEPT = 3
"""Variants kept in memory at most."""


class Loaded:
    """The variants in memory. A recogniser that is in use lives on when it is dropped here."""

    def __init__(self, registry: Registry, *, threads: int) -> None:
        self._registry, self._threads = registry, threads
        self._recognizers: OrderedDict[str, Recognizer] = OrderedDict()

    def names(self) -> frozenset[str]:
        return frozenset(self._recognizers)

    def find(self, manifest: Manifest) -> Recognizer | None:
        """The recogniser if it is in memory; at once, and from any thread."""
        return self._recognizers.get(manifest.name)

    def get(self, manifest: Manifest) -> Recognizer:
        """The recogniser for a variant, loaded and warmed up if it is not there.

        Raises:
            ModelUnavailable: a file is missing or damaged, or this runtime cannot run it.
        """
        name = manifest.name
        if name not in self._recognizers:
            self._recognizers[name] = self._load(manifest)
            while len(self._recognizers) > KEPT:
                dropped, _ = self._recognizers.popitem(last=False)
                _log.info("dropped %s: %d variants are the most in memory", dropped, KEPT)
        self._recognizers.move_to_end(name)
        return self._recognizers[name]

    def _load(self, manifest: Manifest) -> Recognizer:
        if manifest.runtime != "onnxruntime":
            raise ModelUnavailable(manifest.name, f"its runtime {manifest.runtime} is not supported here")
        folder = self._registry.path(manifest)
        started = time.perf_counter()
        try:
            recognizer = Recognizer(OnnxBackend(folder, threads=self._threads), families.load(folder))
            recognizer.warmup()
        except Exception as error:
            # onnxruntime's errors have no common class below Exception; whatever it is, the server goes on.
            reason = (str(error) or repr(error)).splitlines()[0].replace(f"{folder}/", "")
            raise ModelUnavailable(manifest.name, reason) from error
        _log.info("loaded %s in %.0f ms", manifest.name, 1e3 * (time.perf_counter() - started))
        return recognizer
