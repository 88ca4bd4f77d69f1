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
from service.engine.attempt import Attempt, CannotRun, Interrupted, NotTried, OutOfTime, Stage, outcome
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
        self._registry, self._device = registry, device.gpus.asked
        self.conditions = Conditions.of(device, threads=threads, executors=executors)
        self.profiles = Profiles(registry.root, device)

    def lacking(self, manifests: Sequence[Manifest]) -> list[Manifest]:
        """Those that were neither profiled here nor seen to be impossible."""
        return [one for one in manifests if not self._known(one)]

    def survey(self, manifests: Sequence[Manifest], *, within_s: float) -> None:
        """Profile those that are new here, in order, as far as the time suffices; what lacks a profile then is logged.

        What there was no time for is not tried at the next start: that is to be as quick as can be.
        """
        waiting = [one for one in self.lacking(manifests) if not self.profiles.skipped(one, self.conditions)]
        if waiting and self.profiles.writable():
            try:
                for manifest in self._left_out(waiting, within_s):
                    self.profiles.skip(manifest, self.conditions)
            except Interrupted:
                return
        lacking = self.lacking(manifests)
        if lacking:
            names = [manifest.name for manifest in lacking]
            _log.info("not measured: %s; run: wren profile %s", ", ".join(names), shlex.join(names))

    def measure(self, manifest: Manifest, *, within_s: float = LIMIT_S) -> Profile:
        """Profile a variant, whatever is known of it.

        Raises:
            CannotRun: this machine cannot, which is kept.
            NotTried: the store must be mended first.
            OutOfTime, Interrupted: it takes too long, or was ended.
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

    def _left_out(self, manifests: Sequence[Manifest], within_s: float) -> Sequence[Manifest]:
        """Profile one after another; those for which the time did not suffice."""
        started_s, spent_s = time.monotonic(), list[float]()
        for index, manifest in enumerate(manifests):
            left_s = within_s - sum(spent_s)
            if not suffices(left_s, spent_s):
                return manifests[index:]
            _log.info("measuring %s, once for this machine", manifest.name)
            try:
                self.measure(manifest, within_s=left_s)
            except CannotRun as error:
                _log.warning("%s cannot run here: %s", manifest.name, error)
            except NotTried as error:
                _log.warning("%s could not be measured: %s", manifest.name, error)
            except Interrupted:
                raise
            except OutOfTime:
                return manifests[index:]
            spent_s.append(time.monotonic() - started_s - sum(spent_s))
        return ()

    def _known(self, manifest: Manifest) -> bool:
        profile = self.profiles.find(manifest, self.conditions)
        whole = profile is not None and profile.service is not None
        return whole or self.profiles.refusal(manifest, self.conditions) is not None

    def _attempt(self, stage: Stage, manifest: Manifest) -> Attempt:
        return Attempt(stage, self._registry.root, manifest.name, self.conditions, self._device)


def suffices(left_s: float, spent_s: Sequence[float]) -> bool:
    """Whether there is time for one variant more, if it takes as long as the slowest before it."""
    return left_s > max(spent_s, default=0.0)
