"""Variants in memory: loaded when first asked for, the least lately used dropped. Loading is for one thread."""

import logging
import threading
from collections import OrderedDict

from model_store.manifest import Manifest
from service.engine.loading import Loader
from service.engine.plan import Planned
from service.engine.profile import Hosted

_log = logging.getLogger(__name__)

KEPT = 3
"""Variants kept in memory at most."""


class Loaded:
    """The variants in memory. One that is in use lives on when it is dropped here."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._hosted: OrderedDict[str, Hosted] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> tuple[str, ...]:
        return tuple(self._hosted)

    def find(self, manifest: Manifest) -> Hosted | None:
        """The variant if this very build of it is in memory; at once, and from any thread."""
        with self._lock:
            found = self._hosted.get(manifest.name)
            if found is None or found.manifest.digest != manifest.digest:
                return None
            self._hosted.move_to_end(manifest.name)
            return found

    def settle(self, manifest: Manifest, planned: Planned | None = None) -> Hosted:
        """The variant that mostly serves, loaded first: by it the executors are chosen.

        Raises:
            ModelUnavailable: a file is missing or damaged, or this runtime cannot run it.
        """
        return self._keep(self._loader.settle(manifest, planned))

    def get(self, manifest: Manifest) -> Hosted:
        """A variant, loaded and warmed up if it is not there; the present build of it, whichever was chosen.

        Raises:
            ModelUnavailable: as above.
        """
        present = self._loader.present(manifest)
        return self._keep(self.find(present) or self._loader.load(present))

    def renew(self, lost: Hosted) -> Hosted:
        """A variant whose executor was lost, loaded anew; one that was renewed meanwhile is taken.

        Raises:
            ModelUnavailable: as above.
        """
        with self._lock:
            found = self._hosted.get(lost.manifest.name)
        if found is not None and found is not lost:
            return found
        return self._keep(self._loader.renew(lost))

    def _keep(self, hosted: Hosted) -> Hosted:
        with self._lock:
            self._hosted[hosted.manifest.name] = hosted
            self._hosted.move_to_end(hosted.manifest.name)
            while len(self._hosted) > KEPT:
                dropped, _ = self._hosted.popitem(last=False)
                _log.info("dropped %s: %d variants are the most in memory", dropped, KEPT)
        return hosted
