"""The training behind the step `adapt`."""

import numpy as np

from model_store.compress.adapter import Change, Facts, adapted, halved, identity
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.config import Padding
from model_store.train import low_rank
from model_store.train.adapt import Adapt
from model_store.train.imitation import Imitation
from model_store.train.lesson import arrays, held_out, named, prepared, tensors


def change(draft: Draft, settings: Adapt, context: Context) -> Change:
    """See `model_store.train.adapt.adapt`.

    Raises:
        CompressionError: the recordings hold nothing to learn from.
        NotLeading: in the processes of a distributed run that do not write.
    """
    lesson = prepared(draft, context, settings.step, settings.examples, settings.model_dump_json())
    device = lesson.company.device
    weights = {name: one.to(device) for name, one in tensors(draft.model.weights).items()}
    names = [
        name
        for name, weight in weights.items()
        if name.startswith(("encoder.layers.", "encoder.layer_norm.")) and weight.ndim <= 2
    ]
    fresh = low_rank.fresh(weights, names, settings.rank, seed=context.seed)
    parameters = {name: one.to(device) for name, one in fresh.items()}
    wide = np.random.default_rng(context.seed).random(len(lesson.examples.examples)) < settings.wide

    def padding(example: int) -> Padding | None:
        return None if wide[example] else settings.padding

    def now() -> Change:
        facts = Facts(
            model_sha256=identity(draft.model),
            padding=settings.padding,
            settings=settings.model_dump_json(),
            trained_on=named(lesson.studio.utterances),
        )
        return Change(halved(arrays(parameters)), facts)

    problem = Imitation(
        parameters=parameters,
        weights=lambda: low_rank.changed(weights, parameters),
        teacher=lesson.teacher,
        bank=lesson.examples,
        bins=lesson.config.mel_bins,
        padding=padding,
        mix=settings.losses,
    )
    optimisation = settings.optimisation
    lesson.taken(problem, optimisation, held_out(context, optimisation, settings.step, lambda: adapted(draft, now())))
    return now()
