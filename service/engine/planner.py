"""What the store holds and what was measured on this machine in; plans for this deployment out."""

import math
from collections.abc import Container, Sequence

from model_store.manifest import Manifest
from model_store.registry import Registry
from service.engine.budget import Asked, deployment_budget, what_if
from service.engine.candidates import Known, candidates
from service.engine.choice import AUTO, Choices
from service.engine.device import Device
from service.engine.gpu import CONTEXT_BYTES
from service.engine.plan import Budget, Costs, Plan, plan
from service.engine.profile import costs
from service.engine.profiles import FOLDER
from service.engine.survey import Surveyor
from service.settings import Settings

AS_IT_IS = Asked()


class Planner:
    """Plans under the deployment's own budget, or under another that is asked for."""

    def __init__(self, registry: Registry, device: Device, settings: Settings) -> None:
        self._registry, self._device, self._settings = registry, device, settings
        self.budget: Budget = deployment_budget(settings, device)

    @property
    def memory_bytes(self) -> int:
        """That the server may use; 0 if nothing is known."""
        amount = self.budget.memory.amount
        return 0 if math.isinf(amount) else int(amount)

    @property
    def gpu_bytes(self) -> int:
        """That it may use of each GPU for weights and caches, be it next to nothing; 0 if there is none."""
        return max(1, int(self.budget.gpu_memory.amount) - CONTEXT_BYTES) if self._device.gpus.gpus else 0

    def stamp(self) -> int:
        """Differs once a profile was written or taken away."""
        try:
            return (self._registry.root / FOLDER).stat().st_mtime_ns
        except OSError:
            return 0

    def surveyor(self, asked: Asked = AS_IT_IS) -> Surveyor:
        """What measures for as many cores as the budget has."""
        threads = int(what_if(self.budget, asked).cores.amount)
        return Surveyor(self._registry, self._device, threads=threads, executors=self._settings.executors)

    def plan(self, manifests: Sequence[Manifest], asked: Asked = AS_IT_IS) -> Plan:
        """Which of these variants to serve; those of several models are compared with each other."""
        known = self.known(manifests, asked)
        return plan(candidates(manifests, known), what_if(self.budget, asked))

    def known(self, manifests: Sequence[Manifest], asked: Asked = AS_IT_IS) -> Known:
        """What was measured of them, and which of them cannot be run here."""
        surveyor = self.surveyor(asked)
        profiles, conditions = surveyor.profiles, surveyor.conditions
        found: dict[str, Costs] = {}
        unable: dict[str, str] = {}
        for manifest in manifests:
            profile = profiles.find(manifest, conditions)
            measured = costs(profile) if profile else None
            refusal = profiles.refusal(manifest, conditions) or self._lacks(manifest, profiles.machine.versions)
            if refusal is not None:
                unable[manifest.name] = refusal
            elif measured is not None:
                found[manifest.name] = measured
        return Known(found, unable)

    def _lacks(self, manifest: Manifest, versions: Container[str]) -> str | None:
        """What this machine has not got that the variant needs."""
        runtime, gpus = manifest.runtime, self._device.gpus
        if runtime not in versions:
            return f'needs {runtime}, which is not installed: pip install "wren-asr[{runtime}]"'
        if runtime == "torch" and gpus.asked.startswith("cuda") and not gpus.gpus:
            return f"needs a GPU, for WREN_DEVICE={gpus.asked}: {gpus.reason}"
        return None

    def choices(self, manifests: tuple[Manifest, ...]) -> Choices:
        """What every name means now, for as long as neither the store nor what was measured changes."""
        known = self.known(manifests)
        compared = {AUTO: candidates(manifests, known)}
        for model in dict.fromkeys(manifest.model for manifest in manifests):
            compared[model] = candidates([one for one in manifests if one.model == model], known)
        plans = {name: plan(found, self.budget) for name, found in compared.items()}
        return Choices(manifests, plans, self._settings.model, self._device.fast_int8)
