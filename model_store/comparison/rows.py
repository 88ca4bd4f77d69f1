"""Manifests in; which evaluations can be compared, and how each variant stands among the others, out. Pure.

Word error rates are comparable on the same recordings only, times on the same device with the same number of threads
only. So the recordings that most variants were evaluated on are chosen, and of those evaluations the conditions that
most share. A variant without such an evaluation keeps its row; it takes no part in the comparison.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from model_store.comparison.errors import NoSuchData, NothingEvaluated
from model_store.comparison.pareto import Measures, dominators
from model_store.manifest import Evaluation, Manifest

K = TypeVar("K", bound=Hashable)

SHORTEST_DIGEST = 6
"""Characters from which on a text may be the beginning of a digest."""


@dataclass(frozen=True, slots=True)
class Here:
    """What a variant costs on the machine that the report is made on, if it was profiled there."""

    memory_bytes: int
    latency_ms: float
    speed: float


@dataclass(frozen=True, slots=True)
class Row:
    """A variant.

    Attributes:
        evaluation: on the chosen recordings; None if there is none.
        compared: whether it was made under the chosen conditions.
        share: its bytes as a part of those of the base variant it descends from, None if that is not in the store.
        growth: points of WER over its parent's, None without a parent or without an evaluation of it.
        dominated_by: a variant that is nowhere worse in bytes, WER and speed, and somewhere better.
    """

    manifest: Manifest
    evaluation: Evaluation | None
    compared: bool
    share: float | None
    growth: float | None
    here: Here | None = None
    dominated_by: str | None = None

    @property
    def standing(self) -> str:
        """How it stands, in words."""
        if self.evaluation is None:
            return "evaluated on other recordings" if self.manifest.evaluations else "not evaluated"
        if not self.compared:
            return "measured elsewhere, not compared"
        return f"dominated by {self.dominated_by}" if self.dominated_by else "on the front"

    @property
    def on_front(self) -> bool:
        return self.compared and self.dominated_by is None


@dataclass(frozen=True, slots=True)
class Group:
    """Variants that are compared with each other: those of a model, or of all models (`model` is None)."""

    model: str | None
    rows: tuple[Row, ...]

    @property
    def compared(self) -> tuple[tuple[Row, Evaluation], ...]:
        return tuple((row, row.evaluation) for row in self.rows if row.compared and row.evaluation)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All groups; `example` is one of the evaluations that are compared, for their recordings and conditions."""

    example: Evaluation
    groups: tuple[Group, ...]


def compare(
    manifests: Sequence[Manifest], *, data: str | None = None, here: Mapping[str, Here] | None = None
) -> Comparison:
    """Compares variants with those of their model and, if there are several models, with all others.

    Args:
        manifests: of the variants.
        data: names of the sets as an evaluation has them, or the beginning of their digest; None for those that most
            variants were evaluated on.
        here: figures of this machine, by the variant's name.

    Raises:
        NothingEvaluated: there is no evaluation.
        NoSuchData: there is none on these recordings.
    """
    chosen = _Chosen.of(manifests, data)
    rows = [_row(manifest, manifests, chosen, here or {}) for manifest in manifests]
    rows.sort(key=lambda row: (row.evaluation is None, not row.compared, -row.manifest.total_bytes, row.manifest.name))
    models = sorted({manifest.model for manifest in manifests})
    groups = [Group(name, _standing([row for row in rows if row.manifest.model == name])) for name in models]
    groups.sort(key=lambda group: not group.compared)
    if sum(bool(group.compared) for group in groups) > 1:
        groups.append(Group(None, _standing(rows, full_names=True)))
    return Comparison(chosen.example, tuple(groups))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The evaluations of the chosen recordings by variant, those of the chosen conditions if there are any."""

    example: Evaluation
    by_name: Mapping[str, Evaluation]

    @classmethod
    def of(cls, manifests: Sequence[Manifest], data: str | None) -> "_Chosen":
        every = [(manifest.name, one) for manifest in manifests for one in manifest.evaluations]
        if not every:
            raise NothingEvaluated([manifest.name for manifest in manifests])
        asked = [(name, one) for name, one in every if data is None or _is(one, data)]
        if data is not None and not asked:
            raise NoSuchData(data, sorted({f"{one.data} ({one.data_sha256[:16]})" for _, one in every}))
        same = _most_shared(asked, lambda one: one.data_sha256)
        alike = _most_shared(same, _conditions)
        latest = dict(sorted(same, key=lambda pair: pair[1].date))
        return cls(max((one for _, one in alike), key=lambda one: one.date), latest | dict(alike))

    def like(self, one: Evaluation) -> bool:
        return _conditions(one) == _conditions(self.example)


def _is(one: Evaluation, data: str) -> bool:
    return one.data == data or (len(data) >= SHORTEST_DIGEST and one.data_sha256.startswith(data.lower()))


def _conditions(one: Evaluation) -> tuple[str, int]:
    return one.device, one.threads


def _most_shared(
    pairs: Sequence[tuple[str, Evaluation]], key: Callable[[Evaluation], K]
) -> list[tuple[str, Evaluation]]:
    """The pairs whose key most words have, all names together; of several such keys the one that was used last."""
    by_key: dict[K, list[tuple[str, Evaluation]]] = defaultdict(list)
    for name, one in pairs:
        by_key[key(one)].append((name, one))
    return max(
        by_key.values(), key=lambda found: (sum(one.words for _, one in found), max(one.date for _, one in found))
    )


def _row(manifest: Manifest, manifests: Iterable[Manifest], chosen: _Chosen, here: Mapping[str, Here]) -> Row:
    siblings = {one.variant: one for one in manifests if one.model == manifest.model}
    base, evaluation = _base(manifest, siblings), chosen.by_name.get(manifest.name)
    before = chosen.by_name.get(f"{manifest.model}:{manifest.parent}") if manifest.parent else None
    return Row(
        manifest,
        evaluation,
        compared=evaluation is not None and chosen.like(evaluation),
        share=manifest.total_bytes / base.total_bytes if base and base.total_bytes else None,
        growth=evaluation.wer - before.wer if evaluation and before else None,
        here=here.get(manifest.name),
    )


def _base(manifest: Manifest, siblings: Mapping[str, Manifest]) -> Manifest | None:
    """The variant without a parent that this one descends from."""
    passed: set[str] = set()
    while manifest.parent is not None:
        passed.add(manifest.variant)
        if manifest.parent not in siblings or manifest.parent in passed:
            return None
        manifest = siblings[manifest.parent]
    return manifest


def _standing(rows: Sequence[Row], *, full_names: bool = False) -> tuple[Row, ...]:
    """The rows with what dominates each of them among these."""
    compared = [row for row in rows if row.compared]
    found = dominators([_measures(row) for row in compared])
    names = [row.manifest.name if full_names else row.manifest.variant for row in compared]
    by = {row.manifest.name: names[index] for row, index in zip(compared, found, strict=True) if index is not None}
    return tuple(replace(row, dominated_by=by.get(row.manifest.name)) for row in rows)


def _measures(row: Row) -> Measures:
    assert row.evaluation is not None
    return row.manifest.total_bytes, row.evaluation.wer, -row.evaluation.speed
