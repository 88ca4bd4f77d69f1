"""What the store holds and what is planned with it, as of a second ago at most."""

import math
import threading
import time

from model_store.manifest import Manifest
from model_store.registry import Registry
from service.engine.choice import AUTO, SPEECH_FAMILIES, Choices
from service.engine.device import Device
from service.engine.plan import Costs
from service.engine.planner import Planner
from service.errors import ModelNotFound
from service.settings import Settings

READ_S = 1.0
"""How old it may be: the store read for each request took a tenth of a core."""


class Stock:
    """The variants that write text."""

    def __init__(self, registry: Registry, device: Device, settings: Settings) -> None:
        self._registry, self._device, self._settings = registry, device, settings
        self.planner = Planner(registry, device, settings)
        self._known: tuple[Choices, int] | None = None
        self._reading = threading.Lock()
        self._read_s = -math.inf

    def choices(self, *, now: bool = False) -> Choices:
        """What every name means; the very same object for as long as nothing changed.

        It is read here only where nobody refreshes it: to plan anew takes 40 ms.
        """
        known, stale = self._known, time.monotonic() >= self._read_s + 2 * READ_S
        if known is None or now or (stale and not self._reading.locked()):
            return self._read()
        return known[0]

    def refresh(self) -> None:
        """Read it if it is due; for a thread."""
        if time.monotonic() >= self._read_s + READ_S:
            self._read()

    def _read(self) -> Choices:
        with self._reading:
            self._read_s = time.monotonic()
            manifests, stamp = self._speakers(), self.planner.stamp()
            if self._known is None or (manifests, stamp) != (self._known[0].manifests, self._known[1]):
                self._known = self.planner.choices(manifests), stamp
            return self._known[0]

    def costs(self, name: str) -> Costs | None:
        """What a variant costs on this machine, if that was measured."""
        plan = self.choices().plans.get(name.partition(":")[0])
        if plan is None:
            return None
        candidates = (*(one.candidate for one in plan.chosen), *(one.candidate for one in plan.excluded))
        return next((one.costs for one in candidates if one.name == name), None)

    def of_model(self, model: str) -> list[Manifest]:
        """Its variants; all for `auto`.

        Raises:
            ModelNotFound: there is none.
        """
        manifests = self.choices().manifests
        found = [manifest for manifest in manifests if model in (AUTO, manifest.model)]
        if not found:
            raise ModelNotFound(model, tuple(dict.fromkeys(manifest.model for manifest in manifests)))
        return found

    def survey(self) -> None:
        """Measure what was never measured here: the listed rungs first, then the default model's likely ones."""
        if not self._settings.profile_s:
            return
        model, listed = self._settings.model.partition(":")[0], set(self._settings.ladder)
        likely = "int8" if self._device.fast_int8 else "fp32"

        speakers = self._speakers()
        unable = self.planner.known(speakers).unable

        def rank(one: Manifest) -> tuple[bool, bool, bool, bool]:
            rung = one.name in listed or (one.model == model and not listed.isdisjoint({one.variant, one.precision}))
            unseen = one.parent is not None and not one.evaluations
            return not rung, one.model != model, one.precision != likely, unseen

        able = [one for one in speakers if one.name not in unable]
        self.planner.surveyor().survey(sorted(able, key=rank), within_s=self._settings.profile_s)

    def _speakers(self) -> tuple[Manifest, ...]:
        return tuple(manifest for manifest in self._registry.list() if manifest.family in SPEECH_FAMILIES)
