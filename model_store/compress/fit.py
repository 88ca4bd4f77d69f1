"""A layer and what it is multiplied with in; which of its inputs can go, and how the rest makes up for them, out.

What the layer's output loses is taken in the mean square over recordings: Optimal Brain Surgeon, layer by layer
(Hassibi and Stork, 1992; Frantar and Alistarh, Optimal Brain Compression, 2022; of whole structures: Kurtic et al.,
ZipLM, 2023).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from model_store.compress.channels import Channels, Units
from model_store.compress.moments import Doubles, Moments
from model_store.convert.graph import Floats

Mask = npt.NDArray[np.bool_]
Refit = Literal["none", "mean", "squares"]
"""How a layer makes up for inputs that are gone: not at all; in its bias, by what they gave it in the mean; in its bias
and weights, by least squares."""

_RIDGE = 1e-2
"""Added to the inputs' variances, as a share of their mean: few recordings tell little of many inputs."""

_STRIP = 128
"""Inputs that a sweep passes before it tells those behind them: products of matrices are quicker than of vectors."""

_ROUNDS = 16
"""Inputs go in so many rounds and are judged anew in each, for one may stand in for another."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A layer with fewer inputs: the units that are `kept`, in order, its weight [out, in], what to add to its bias."""

    kept: Units
    weight: Floats
    bias: Floats


def fit(channels: Channels, weight: Floats, seen: Moments, *, count: int, refit: Refit) -> Fit:
    """The layer behind the channels, without the `count` units that its output misses least."""
    whole = weight.astype(np.float64)
    if refit == "squares":
        kept, rest = _refitted(channels, whole, seen.covariance, count)
    else:
        kept, rest = _cut(channels, whole, seen.products if refit == "none" else seen.covariance, count)
    missing = whole @ seen.mean - rest @ seen.mean[channels.inputs(kept)]
    bias = np.zeros(len(whole)) if refit == "none" else missing
    return Fit(kept, rest.astype(np.float32), bias.astype(np.float32))


def fit_without(weight: Floats, gone: Mask, seen: Moments, *, refit: Refit, has_bias: bool) -> tuple[Floats, Floats]:
    """The weight with zeros for those that are `gone` [out, in], and what to add to its bias.

    Least squares by one sweep over the inputs, each of which leaves what it loses to those behind it (Frantar and
    Alistarh, SparseGPT, 2023, algorithm 1, for weights that are chosen beforehand).
    """
    whole = weight.astype(np.float64)
    rest = np.where(gone, 0, whole)
    if refit == "squares":
        rest = _swept(whole, gone, seen.covariance if has_bias else seen.products)
    missing = (whole - rest) @ seen.mean if has_bias and refit != "none" else np.zeros(len(whole))
    return rest.astype(np.float32), missing.astype(np.float32)


def _swept(whole: Doubles, gone: Mask, matter: Doubles) -> Doubles:
    factor, rest = np.linalg.cholesky(np.linalg.inv(_ridged(matter))).T, whole.copy()
    for start in range(0, len(factor), _STRIP):
        end = min(start + _STRIP, len(factor))
        lost = np.zeros((len(whole), end - start))
        for index in range(start, end):
            lost[:, index - start] = np.where(gone[:, index], rest[:, index], 0) / factor[index, index]
            rest[:, index:end] -= np.outer(lost[:, index - start], factor[index, index:end])
        rest[:, end:] -= lost @ factor[start:end, end:]
    return np.asarray(np.where(gone, 0, rest))


def _ridged(matter: Doubles) -> Doubles:
    return np.asarray(matter + _RIDGE * np.trace(matter) / len(matter) * np.eye(len(matter)))


def _cut(channels: Channels, whole: Doubles, matter: Doubles, count: int) -> tuple[Units, Doubles]:
    """The rest as it is. A unit's loss is that of its own output alone."""
    units = np.arange(channels.units)
    losses = _losses(whole, _diagonal(matter, channels.size))
    kept = np.delete(units, _least(losses, units, channels.spared, count))
    return kept, whole[:, channels.inputs(kept)]


def _refitted(channels: Channels, whole: Doubles, covariance: Doubles, count: int) -> tuple[Units, Doubles]:
    """The rest refitted after each round. A unit's loss is what is left of it by the refitted others."""
    size, kept, rest = channels.size, np.arange(channels.units), whole
    inverse = np.asarray(np.linalg.inv(_ridged(covariance)))
    for part in np.array_split(np.arange(count), min(count, _ROUNDS)):
        losses = _losses(rest, np.asarray(np.linalg.inv(_diagonal(inverse, size))))
        gone = _least(losses, kept, channels.spared, len(part))
        out = np.isin(np.arange(len(inverse)) // size, gone)
        shift = np.linalg.solve(inverse[np.ix_(out, out)], inverse[np.ix_(out, ~out)])
        rest = rest[:, ~out] - rest[:, out] @ shift
        inverse = inverse[np.ix_(~out, ~out)] - inverse[np.ix_(~out, out)] @ shift
        kept = np.delete(kept, gone)
    return kept, rest


def _losses(weight: Doubles, blocks: Doubles) -> Doubles:
    """[units] of [out, units * size] and [units, size, size]: the trace of each unit's weight, block, weight."""
    units, size, _ = blocks.shape
    columns = weight.reshape(len(weight), units, size).transpose(1, 0, 2)
    return np.asarray((columns @ blocks * columns).sum(axis=(1, 2)))


def _diagonal(matrix: Doubles, size: int) -> Doubles:
    """The blocks [size, size] on the diagonal."""
    units = len(matrix) // size
    return matrix.reshape(units, size, units, size)[np.arange(units), :, np.arange(units)]


def _least(losses: Doubles, units: Units, spared: frozenset[int], count: int) -> Units:
    """The places of those with the least losses."""
    judged = np.where(np.isin(units, list(spared)), np.inf, losses)
    return np.argsort(judged, kind="stable")[:count]
