"""The training behind the step `distil`."""

import fnmatch
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.convert.formats import Format
from model_store.errors import CompressionError
from model_store.train.distil import Distil
from model_store.train.imitation import Imitation
from model_store.train.lesson import arrays, held_out, prepared, tensors
from model_store.train.rounding import rounded

PRUNED = 0.005
"""A matrix of which more than this share is zero was pruned."""


def trained(draft: Draft, settings: Distil, context: Context) -> Draft:
    """See `model_store.train.distil.distil`.

    Raises:
        CompressionError: nothing is to be trained, or the recordings hold nothing to learn from.
        NotLeading: in the processes of a distributed run that do not write.
    """
    names = chosen(list(draft.model.weights), settings.layers, settings.frozen, settings.step)
    lesson = prepared(draft, context, settings.step, settings.examples, _told(draft, settings))
    student = {name: one.to(lesson.company.device) for name, one in tensors(draft.model.weights).items()}
    masks = {name: mask for name in names if (mask := _mask(student[name])) is not None}
    parameters = {name: student[name].clone() for name in names}
    forms = draft.form.formats if settings.aware else {}

    def now() -> Draft:
        kept = {name: one * masks[name] if name in masks else one for name, one in parameters.items()}
        return draft.having({**draft.model.weights, **arrays(kept)})

    problem = Imitation(
        parameters=parameters,
        weights=lambda: {**student, **_effective(parameters, masks, forms)},
        teacher=lesson.teacher,
        bank=lesson.examples,
        bins=lesson.config.mel_bins,
        padding=lambda _: lesson.config.padding,
        mix=settings.losses,
    )
    optimisation = settings.optimisation
    lesson.taken(problem, optimisation, held_out(context, optimisation, settings.step, now))
    return now()


def _effective(
    parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], forms: Mapping[str, Format]
) -> dict[str, Tensor]:
    """What is multiplied with."""
    pruned = {name: one * masks[name] if name in masks else one for name, one in parameters.items()}
    return {name: rounded(one, forms.get(name)) if one.ndim > 1 else one for name, one in pruned.items()}


def _mask(weight: Tensor) -> Tensor | None:
    if weight.ndim < 2:
        return None
    kept = weight != 0
    return kept.to(weight.dtype) if float(kept.float().mean()) < 1 - PRUNED else None


def chosen(names: Sequence[str], layers: Sequence[str], frozen: Sequence[str], step: str) -> list[str]:
    """The names that are trained: those that match one of the layers' patterns, and none of the frozen.

    Raises:
        CompressionError: none is.
    """

    def named(name: str, patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    found = [name for name in names if named(name, layers) and not named(name, frozen)]
    if not found:
        raise CompressionError(step, f"no weight is called {' or '.join(layers)} and not frozen")
    return found


def _told(draft: Draft, settings: Distil) -> str:
    """The settings, and the forms that are trained for."""
    forms = {name: repr(form) for name, form in sorted(draft.form.formats.items())} if settings.aware else {}
    return f"{settings.model_dump_json()} {forms} {torch.__version__}"
