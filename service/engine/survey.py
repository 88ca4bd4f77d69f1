"""Variants in; their profiles, kept below the store, out.

That a variant cannot be run here is no failure of the survey: it is kept as well, and not tried again.
"""

import logging
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace

from model_store.manifest import Manifest
from model_store.registry import Registry
from service.engine.attempt import Attempt, CannotRun, OutOfTime, Stage, outcome
from service.engine.device import Device
from service.engine.fingerprint import Conditions
from service.engine.profile import Profile, Service
from service.engine.profiles import Profiles

_log = logging.getLogger(__name__)

LIMIT_S = 1200.0
"""For one variant: longer takes only a machine on which it is of no use."""


class Surveyor:
    """Profiles variants of a store, all under the same conditions. For one thread, which it blocks."""

    def __init__(self, registry: Registry, device: Device, *, threads: int, executors: int | None = None) -> None:
        self._registry = registry
        self.conditions = Conditions.of(device, threads=threads, executors=executors)
        self.profiles = Profiles(registry.root, device)

    def lacking(self, manifests: Sequence[Manifest]) -> list[Manifest]:
        """Those that were neither profiled here nor seen to be impossible."""
        return [one for one in manifests if not self._known(one)]

    def survey(self, manifests: Sequence[Manifest], *, within_s: float) -> None:
        """Profile those that lack it, in order, as far as the time suffices; what is left out is logged."""
        lacking = self.lacking(manifests)
        if not lacking or not self.profiles.writable():
            return
        started_s, spent_s = time.monotonic(), list[float]()
        while lacking and suffices(within_s - sum(spent_s), spent_s):
            if not self._measured(lacking[0], within_s=within_s - sum(spent_s)):
                break
            spent_s.append(time.monotonic() - started_s - sum(spent_s))
            del lacking[0]
        if lacking:
            names = [manifest.name for manifest in lacking]
            _log.info("no time to measure %s; run: wren profile %s", ", ".join(names), shlex.join(names))

    def measure(self, manifest: Manifest, *, within_s: float = LIMIT_S) -> Profile:
        """Profile a variant, whatever is known of it.

        Raises:
            CannotRun: this machine cannot, which is kept.
            OutOfTime: it takes too long.
        """
        ends_s = time.monotonic() + within_s
        try:
            timed = outcome(self._attempt("timings", manifest), Profile, within_s=within_s)
            self.profiles.keep(manifest, timed, self.conditions)  # what serves next reads it there
            attempt = self._attempt("service", manifest)
            profile = replace(timed, service=outcome(attempt, Service, within_s=ends_s - time.monotonic()))
        except CannotRun as error:
            self.profiles.refuse(manifest, str(error), self.conditions)
            raise
        self.profiles.keep(manifest, profile, self.conditions)
        return profile

    def _measured(self, manifest: Manifest, *, within_s: float) -> bool:
        """False if there was not time enough."""
        _log.info("measuring %s, once for this machine", manifest.name)
        try:
            self.measure(manifest, within_s=within_s)
        except CannotRun as error:
            _log.warning("%s cannot run here: %s", manifest.name, error)
        except OutOfTime:
            return False
        return True

    def _known(self, manifest: Manifest) -> bool:
        profile = self.profiles.find(manifest, self.conditions)
        whole = profile is not None and profile.service is not None
        return whole or self.profiles.refusal(manifest, self.conditions) is not None

    def _attempt(self, stage: Stage, manifest: Manifest) -> Attempt:
        return Attempt(stage, self._registry.root, manifest.name, self.conditions)


def suffices(left_s: float, spent_s: Sequence[float]) -> bool:
    """Whether there is time for one variant more, if it takes as long as the slowest before it."""
    return left_s > max(spent_s, default=0.0)
