"""A model's name, the store's variants and their plans in; the variant that serves out, with the reason. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from model_store.manifest import Family, Manifest, Precision
from service.engine.nearest import limit, way, ways
from service.engine.plan import Budget, Excluded, Obstacle, Plan, Planned
from service.errors import ModelNotFound, ModelUnavailable, NothingFits

SPEECH_FAMILIES: frozenset[Family] = frozenset({"whisper", "moonshine"})
"""Families that write text; the store holds a speech detector beside them."""

AUTO = "auto"
BY_NAME = "asked for by name"


@dataclass(frozen=True, slots=True)
class Choice:
    """A variant, and why it.

    Attributes:
        planned: if the plan has it.
        governed: the name under which precision is chosen for the request, which goes with it while it waits.
    """

    manifest: Manifest
    reason: str
    planned: Planned | None = None
    governed: str | None = None

    @property
    def name(self) -> str:
        return self.manifest.name


@dataclass(frozen=True, slots=True)
class Choices:
    """All that a choice rests on, as of one moment.

    Attributes:
        manifests: the variants that write text.
        plans: for each model, and for all models together under `auto`.
        default: the model or variant that `auto` means; `auto` itself leaves the model to the plan.
        fast_int8: whether the processor multiplies INT8 in one instruction.
    """

    manifests: tuple[Manifest, ...]
    plans: Mapping[str, Plan]
    default: str
    fast_int8: bool

    def key(self, name: str) -> str | None:
        """The name under which precision is chosen for those who ask for this one; None for one that is obeyed."""
        if name == AUTO:
            return self.default
        return None if any(manifest.name == name for manifest in self.manifests) else name

    def plan(self, key: str) -> Plan:
        """Of a model, of that of a variant, or of all."""
        return self.plans[key.partition(":")[0]]

    def manifest(self, name: str) -> Manifest | None:
        """The variant of this name."""
        return next((manifest for manifest in self.manifests if manifest.name == name), None)

    def unable(self, name: str) -> str | None:
        """Why this machine cannot run a variant, if that is known."""
        plan = self.plans.get(name.partition(":")[0])
        return _unable(next((one for one in plan.excluded if one.name == name), None)) if plan else None

    def choose(self, name: str, *, language: str | None = None) -> Choice:
        """The variant for `model:variant`, a bare `model`, or `auto`.

        One that is named is taken, unless it takes more memory than somebody allowed. Else the plan's first; of several
        models the first that knows the language. Where the plan has none since too little is known, the rule of thumb
        serves: INT8 if that is fast here, else the base variant.

        Raises:
            ModelNotFound: the store has none of that name.
            ModelUnavailable: it was seen that this machine cannot run it.
            NothingFits: a limit that somebody set rules all out.
        """
        wanted = self.default if name == AUTO else name
        exact = [manifest for manifest in self.manifests if manifest.name == wanted]
        if exact:
            return self._named(exact[0])
        variants = [manifest for manifest in self.manifests if wanted in (AUTO, manifest.model)]
        if not variants:
            raise ModelNotFound(name, tuple(manifest.name for manifest in self.manifests))
        plan = self.plans.get(wanted)
        fitting = plan.chosen if plan else ()
        speaking = [one for one in fitting if language is None or language in one.candidate.languages]
        for one in (*speaking, *fitting):
            return Choice(next(manifest for manifest in variants if manifest.name == one.name), one.reason, one)
        return self._unplanned(wanted, variants)

    def _named(self, manifest: Manifest) -> Choice:
        plan = self.plans.get(manifest.model)
        planned = [one for one in plan.chosen if one.name == manifest.name] if plan else []
        for other in plan.excluded if plan else ():
            if other.name == manifest.name and plan is not None:
                _refuse(other, plan.budget)
        return Choice(manifest, BY_NAME, next(iter(planned), None))

    def _unplanned(self, wanted: str, variants: Sequence[Manifest]) -> Choice:
        """Where nothing fits. What passes a limit that somebody set is not served; what nobody measured may be."""
        plan = self.plans.get(wanted)
        excluded = {one.name: one for one in plan.excluded} if plan else {}
        set_limits = {name: _set_limits(one, plan.budget) for name, one in excluded.items()} if plan else {}
        open_ = [one for one in variants if not set_limits.get(one.name) and not _unable(excluded.get(one.name))]
        costly = any(found & {"memory", "gpu_memory", "latency"} for found in set_limits.values())
        if plan and (costly or (not open_ and any(set_limits.values()))):
            raise NothingFits(wanted, reasons=_told(plan.excluded), ways=tuple(map(str, ways(plan))))
        if not open_:
            raise ModelUnavailable(wanted, "; ".join(_told(tuple(excluded.values()))))
        return _by_thumb([one for one in open_ if one.model == open_[0].model], fast_int8=self.fast_int8)


def _set_limits(excluded: Excluded, budget: Budget) -> set[Obstacle]:
    return {fault.obstacle for fault in excluded.faults if budget.chose(fault.obstacle)}


def _refuse(excluded: Excluded, budget: Budget) -> None:
    """What cannot run, or would take more memory than somebody allowed, is not served by its name either."""
    if why := _unable(excluded):
        raise ModelUnavailable(excluded.name, why)
    passed = _set_limits(excluded, budget) & {"memory", "gpu_memory"}
    if passed:
        against = replace(excluded, faults=tuple(fault for fault in excluded.faults if fault.obstacle in passed))
        enough = way(against)
        settings = " and ".join(limit(budget, name).reason for name, _ in enough.limits) if enough else ""
        raise NothingFits(excluded.name, reasons=_told([against]), ways=(f"{enough} ({settings})",) if enough else ())


def _unable(excluded: Excluded | None) -> str | None:
    faults = excluded.faults if excluded else ()
    return next((fault.reason for fault in faults if fault.obstacle == "unable"), None)


def _told(excluded: Sequence[Excluded]) -> tuple[str, ...]:
    return tuple(f"{one.name} {' and '.join(fault.reason for fault in one.faults)}" for one in excluded)


def _by_thumb(variants: Sequence[Manifest], *, fast_int8: bool) -> Choice:
    order: tuple[Precision, ...] = ("int8", "fp32") if fast_int8 else ("fp32", "int8")
    reason = "this processor has fast INT8" if fast_int8 else "this processor has no fast INT8"
    for precision in order:
        for manifest in variants:
            if manifest.precision == precision:
                return Choice(manifest, f"no plan, for too little was measured here; {reason}")
    return Choice(variants[0], "no plan, for too little was measured here; the only kind there is")
