"""A step: the precision of each layer by how much it is missed there, down to a size or up to a loss.

Each group of matrices (a layer's attention, one half of its feed-forward part, the embedding) is lowered by itself, and
the divergence of the model's next tokens is measured: its sensitivity. Then groups are lowered in the order of
divergence a byte saved, as if divergences added up. HAWQ ranks layers by curvature (Dong et al., 2019), ZeroQ by this
very divergence (Cai et al., 2020).
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from model_store.compress.context import Context
from model_store.compress.draft import Draft, matched
from model_store.compress.quantise import FORMS, FormName
from model_store.compress.settings import EVERY, STRICT
from model_store.convert.formats import Float, Format, Formats
from model_store.convert.model import Model
from model_store.errors import CompressionError


class Hierarchical(BaseModel):
    """Lowers what is missed least to the form `low`, from the forms that steps before have given.

    Attributes:
        size: go on until the weights take no more than this share of their bytes in float32.
        wer_growth: lower as many groups as cost at most so many points of WER on the recordings that are looked at.
    """

    model_config = STRICT

    step: Literal["hierarchical"]
    low: FormName
    layers: tuple[str, ...] = Field(default=EVERY, min_length=1)
    size: float | None = Field(default=None, gt=0, lt=1)
    wer_growth: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.size is None) == (self.wer_growth is None):
            raise ValueError("give either size or wer_growth")
        return self


@dataclass(frozen=True, slots=True)
class Group:
    """Matrices that are lowered together: bytes that it saves, and the divergence that it costs."""

    names: tuple[str, ...]
    saved_bytes: float
    cost: float


def hierarchical(draft: Draft, settings: Hierarchical, context: Context) -> Draft:
    """The draft with the groups that are missed least in the lower form.

    Raises:
        CompressionError: there are no recordings, or the size cannot be reached.
    """
    recordings = context.recordings
    if recordings is None:
        raise CompressionError("hierarchical", "it measures on recordings: give a folder of them (--calibration DIR)")
    low = FORMS[settings.low]
    seen = replace(draft, form=replace(draft.form, inputs=recordings.inputs(draft)))
    found = matched("hierarchical", draft.model, settings.layers, low.places)
    names = [one for one in found if saved_bytes(draft, one, low) > 0]
    trials = grouped(names)
    context.report(f"measuring how much each of {len(trials)} groups of matrices is missed")
    before, *after = recordings.divergence(draft, [seen.form, *(seen.formed(names, low).form for names in trials)])
    groups = [
        Group(names, sum(saved_bytes(draft, name, low) for name in names), max(divergence - before, 0.0))
        for names, divergence in zip(trials, after, strict=True)
    ]
    ranked = sorted(groups, key=lambda group: group.cost / group.saved_bytes)

    def lowered(chosen: Sequence[Group]) -> Draft:
        return seen.formed([name for group in chosen for name in group.names], low)

    if settings.size is not None:
        total = kept_bytes(draft.model, draft.form.formats)
        chosen = enough(ranked, total, settings.size * kept_bytes(draft.model, {}))
    else:
        allowed = recordings.wer(draft) + (settings.wer_growth or 0)
        chosen = ranked[: most(len(ranked), lambda count: recordings.wer(lowered(ranked[:count])) <= allowed)]
    context.report(f"lowered {len(chosen)} of {len(ranked)} groups to {settings.low}")
    return lowered(chosen)


def enough(ranked: Sequence[Group], total: float, allowed: float) -> list[Group]:
    """The groups that make `total` bytes of weights no more than `allowed`.

    They are taken in this order, and then those that are missed most are left out again where the size is kept without
    them: the last one taken may have been a large one.

    Raises:
        CompressionError: all of them are not enough.
    """
    sizes = list(accumulate((-group.saved_bytes for group in ranked), initial=total))
    if sizes[-1] > allowed:
        reason = f"the weights can go down to {sizes[-1] / 1e6:.1f} MB, and {allowed / 1e6:.1f} MB were asked for"
        raise CompressionError("hierarchical", reason)
    count = next(count for count, size in enumerate(sizes) if size <= allowed)
    chosen, room = list(ranked[:count]), allowed - sizes[count]
    for group in sorted(chosen, key=lambda group: -group.cost):
        if group.saved_bytes <= room:
            chosen.remove(group)
            room -= group.saved_bytes
    return chosen


def most(count: int, good: Callable[[int], bool]) -> int:
    """The most groups that are `good`, as if every fewer were so too: it asks for the logarithm of `count` of them."""
    return bisect_right(range(1, count + 1), 0, key=lambda groups: 0 if good(groups) else 1)


def grouped(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Names by the layer and the part that they belong to: an attention goes as a whole, for q, k and v are joined."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[re.sub(r"\.([qkvo]|out)_proj\.weight$", "", name)].append(name)
    return [tuple(group) for group in groups.values()]


def kept_bytes(model: Model, formats: Formats) -> float:
    """What the weights take on disk."""
    bits = (weight.size * formats.get(name, Float(32)).bits_kept for name, weight in model.weights.items())
    return sum(bits) / 8


def saved_bytes(draft: Draft, name: str, low: Format) -> float:
    """What is saved by a matrix in another form."""
    form = draft.form.formats.get(name, Float(32))
    return draft.model.weights[name].size * (form.bits_kept - low.bits_kept) / 8
