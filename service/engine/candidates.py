"""Manifests and what variants cost here in; candidates for the plan, with the points of WER that each loses, out. Pure.

Within a model the loss is against its base variant, on recordings that both were evaluated with. Across models it is
against the lowest WER of all on the recordings that most models were evaluated with; a variant that only its own base
variant can be compared with adds its loss to that one's. A model without those recordings keeps the losses within
itself and comes after the others: what is known goes before what is hoped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from model_store.manifest import Evaluation, Manifest
from service.engine.plan import Candidate, Costs


@dataclass(frozen=True, slots=True)
class Known:
    """What was found out of the variants on this machine, by name: costs, and why some cannot run at all."""

    costs: Mapping[str, Costs] = field(default_factory=dict)
    unable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loss:
    """How many points of WER a variant loses, and how that is known; see `Candidate`."""

    points: float | None
    reference: str
    shown: Evaluation | None
    comparable: bool = True


def candidates(manifests: Sequence[Manifest], known: Known) -> tuple[Candidate, ...]:
    """The variants as the plan sees them; those of several models are compared with each other."""
    losses = {name: loss for model in _by_model(manifests) for name, loss in _within(model).items()}
    if len({manifest.model for manifest in manifests}) > 1:
        losses |= _across([manifest for manifest in manifests if manifest.name not in known.unable], losses)
    return tuple(
        Candidate(
            name=manifest.name,
            model=manifest.model,
            variant=manifest.variant,
            base=manifest.parent is None,
            precision=manifest.precision,
            runtime=manifest.runtime,
            languages=manifest.languages,
            disk_bytes=manifest.total_bytes,
            wer=loss.shown.wer if loss.shown else None,
            wer_loss=loss.points,
            data=loss.shown.data if loss.shown else None,
            reference=loss.reference,
            comparable=loss.comparable,
            costs=known.costs.get(manifest.name),
            unable=known.unable.get(manifest.name),
        )
        for manifest in manifests
        for loss in (losses[manifest.name],)
    )


def _by_model(manifests: Iterable[Manifest]) -> Iterable[Sequence[Manifest]]:
    models: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        models.setdefault(manifest.model, []).append(manifest)
    return models.values()


def _within(variants: Sequence[Manifest]) -> dict[str, Loss]:
    """The losses of one model's variants against its base variant; of several the largest, which lost least."""
    base = max((one for one in variants if one.parent is None), key=lambda one: one.total_bytes, default=None)
    if base is None:
        missing = f"the base variant of {variants[0].model}, which is not in the store,"
        return {one.name: Loss(None, missing, _widest(_latest(one))) for one in variants}
    return {one.name: _against(one, base) for one in variants}


def _against(manifest: Manifest, base: Manifest) -> Loss:
    own, its = _latest(manifest), _latest(base)
    if manifest.name == base.name:
        return Loss(0.0, base.name, _widest(own))
    common = _widest({sha256: one for sha256, one in own.items() if sha256 in its})
    if common is None:
        return Loss(None, base.name, _widest(own))
    return Loss(common.wer - its[common.data_sha256].wer, base.name, common)


def _across(manifests: Sequence[Manifest], within: Mapping[str, Loss]) -> dict[str, Loss]:
    """The losses against the lowest WER of all, where there are recordings in common; without any, nothing."""
    sha256 = _most_common(manifests)
    if sha256 is None:
        return {}
    direct = {one.name: found[sha256] for one in manifests if sha256 in (found := _latest(one))}
    best = min(direct, key=lambda name: (direct[name].wer, name))
    lowest = direct[best].wer
    bases = {one.model: direct[one.name].wer for one in manifests if one.parent is None and one.name in direct}
    losses: dict[str, Loss] = {}
    for one in manifests:
        own = within[one.name]
        if one.name in direct:
            losses[one.name] = Loss(direct[one.name].wer - lowest, best, direct[one.name])
        elif one.model in bases and own.points is not None:
            points = bases[one.model] - lowest + own.points
            losses[one.name] = Loss(points, f"{best}, by way of its base variant", own.shown)
        else:
            losses[one.name] = Loss(own.points, own.reference, own.shown, comparable=False)
    return losses


def _most_common(manifests: Sequence[Manifest]) -> str | None:
    """The recordings that the most models were evaluated with, then those with the most words over all variants."""
    seen: dict[str, list[tuple[Manifest, Evaluation]]] = {}
    for manifest in manifests:
        for sha256, one in _latest(manifest).items():
            seen.setdefault(sha256, []).append((manifest, one))

    def weight(sha256: str) -> tuple[int, int, str]:
        pairs = seen[sha256]
        return len({manifest.model for manifest, _ in pairs}), sum(one.words for _, one in pairs), sha256

    return max(seen, key=weight, default=None)


def _latest(manifest: Manifest) -> dict[str, Evaluation]:
    """By recordings: what was heard on another device counts as well, for the WER hardly depends on it."""
    return {one.data_sha256: one for one in sorted(manifest.evaluations, key=lambda one: one.date)}


def _widest(evaluations: Mapping[str, Evaluation]) -> Evaluation | None:
    return max(evaluations.values(), key=lambda one: (one.words, one.data_sha256), default=None)
