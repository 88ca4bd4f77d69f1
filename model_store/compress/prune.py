"""A step: the weights that matter least become zero, one by one wherever they stand.

No matrix gets smaller and no product faster by that, but the zeros pack well. `shrink` is what saves time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from model_store.compress.context import Context
from model_store.compress.draft import Draft, matrices
from model_store.compress.fit import Mask, Refit, fit_without
from model_store.compress.seen import own_inputs, told
from model_store.compress.settings import EVERY, STRICT
from model_store.convert.formats import Place
from model_store.convert.graph import Floats
from model_store.errors import CompressionError

Criterion = Literal["magnitude", "activation", "gradient"]
Scope = Literal["row", "matrix", "model"]
Scores = Mapping[str, Floats]
"""How much each weight of a matrix matters, by the name of the matrix."""


class Prune(BaseModel):
    """Makes zeros of a `share` of the weights of `layers`, patterns of names: of each row, each matrix, or all at once.

    Zeros that are there already count. `embedding` adds the table of tokens to what the patterns are held against.
    """

    model_config = STRICT

    step: Literal["prune"]
    share: float = Field(gt=0, lt=1)
    criterion: Criterion = "magnitude"
    scope: Scope = "matrix"
    layers: tuple[str, ...] = Field(default=EVERY, min_length=1)
    embedding: bool = False
    refit: Refit = "none"


def prune(draft: Draft, settings: Prune, context: Context) -> Draft:
    """The draft with those weights zero.

    Raises:
        CompressionError: the criterion needs recordings, or torch, and there is none.
    """
    places: frozenset[Place] = frozenset({"linear", "embedding"} if settings.embedding else {"linear"})
    names = list(matrices(draft.model, settings.layers, places))
    if not names:
        raise CompressionError("prune", f"no matrix matches {', '.join(settings.layers)}")
    gone = doomed(_SCORES[settings.criterion](draft, names, context), settings.share, settings.scope)
    if settings.refit != "none":
        return _refitted(draft, gone, settings.refit, context)
    zeros = {name: np.where(mask, np.float32(0), draft.model.weights[name]) for name, mask in gone.items()}
    return draft.having({**draft.model.weights, **zeros})


def _refitted(draft: Draft, gone: Mapping[str, Mask], refit: Refit, context: Context) -> Draft:
    """What is left makes up for what is gone, each matrix by itself."""
    if context.recordings is None:
        raise CompressionError(
            "prune", f"refit = {refit!r} needs recordings: give a folder of them (--calibration DIR)"
        )
    moments = context.recordings.moments(draft, list(gone))
    weights = dict(draft.model.weights)
    for name, mask in gone.items():
        seen, bias = told(name, moments), name.replace(".weight", ".bias")
        seen = seen.of(own_inputs(draft.model, name, len(seen.mean)))
        weights[name], missing = fit_without(weights[name], mask, seen, refit=refit, has_bias=bias in weights)
        if bias in weights:
            weights[bias] = weights[bias] + missing
    return draft.having(weights)


def _magnitude(draft: Draft, names: Sequence[str], _: Context) -> Scores:
    """|w|: Han et al., Learning both Weights and Connections, 2015."""
    return {name: np.abs(draft.model.weights[name]) for name in names}


def _activation(draft: Draft, names: Sequence[str], context: Context) -> Scores:
    """|w| times the norm of what it is multiplied with: Wanda, Sun et al., 2023."""
    if context.recordings is None:
        raise CompressionError("prune", "activation needs recordings: give a folder of them (--calibration DIR)")
    inputs, scores = context.recordings.inputs(draft), {}
    for name in names:
        square = told(name, inputs).mean_square
        norm = np.sqrt(square[own_inputs(draft.model, name, len(square))])
        scores[name] = np.abs(draft.model.weights[name]) * norm
    return scores


def _gradient(draft: Draft, names: Sequence[str], context: Context) -> Scores:
    """|w dL/dw|, what the loss changes by without w in first order: Molchanov et al., Importance Estimation, 2019."""
    if context.recordings is None:
        raise CompressionError("prune", "gradient needs recordings: give a folder of them (--calibration DIR)")
    gradients = context.recordings.gradients(draft)
    return {name: np.abs(draft.model.weights[name]) * gradients[name] for name in names}


_SCORES: Mapping[Criterion, Callable[[Draft, Sequence[str], Context], Scores]] = {
    "magnitude": _magnitude,
    "activation": _activation,
    "gradient": _gradient,
}


def doomed(scores: Scores, share: float, scope: Scope) -> dict[str, Mask]:
    """Which weights go: the `share` of all, to the nearest one, that score least, in each part of the `scope` alike."""
    parts = list(_parts(scores, scope))
    quotas = np.diff(np.rint(np.cumsum([len(part) for part in parts]) * share).astype(np.int64), prepend=0)
    found = np.concatenate([lowest(part, int(quota)) for part, quota in zip(parts, quotas, strict=True)])
    ends = np.cumsum([one.size for one in scores.values()])
    pieces = np.split(found, ends[:-1])
    return {name: piece.reshape(one.shape) for (name, one), piece in zip(scores.items(), pieces, strict=True)}


def _parts(scores: Scores, scope: Scope) -> Iterator[Floats]:
    """What is compared with each other, in the order of the weights."""
    if scope == "model":
        yield np.concatenate([one.ravel() for one in scores.values()])
        return
    for one in scores.values():
        yield from one if scope == "row" else [one.ravel()]


def lowest(scores: Floats, count: int) -> Mask:
    """Which `count` scores are least; of equal ones the first."""
    found = np.zeros(len(scores), np.bool_)
    if count:
        limit = np.partition(scores, count - 1)[count - 1]
        found = scores < limit
        found[np.flatnonzero(scores == limit)[: count - int(found.sum())]] = True
    return found
