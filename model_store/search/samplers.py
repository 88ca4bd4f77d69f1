"""What is tried next: a pure function of the space, the trials so far, their number and a seed.

grid: every point in order. random: anything (Bergstra and Bengio, 2012). bayes: where good trials are denser than bad
ones, by Optuna's tree-structured Parzen estimator for several objectives (Ozaki et al., 2022).
"""

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Literal

from model_store.errors import RecipeError
from model_store.search.space import Range, Space, Value
from model_store.search.trials import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Sampler = Literal["grid", "random", "bayes"]

_FIRST = 8
"""Trials at random before the estimator has something to go by."""


def next_values(space: Space, trials: Sequence[Trial], sampler: Sampler, *, seed: int) -> dict[str, Value] | None:
    """The choice of the next trial; None where a grid is at its end.

    Raises:
        RecipeError: Optuna is not installed, or the grid has no steps.
    """
    number = len(trials)
    if sampler == "grid":
        return next(islice(space.grid(), number, None), None)
    if find_spec("optuna") is None:
        raise RecipeError(sampler, 'this sampler needs Optuna: pip install "wren-asr[search]"')
    import optuna  # noqa: PLC0415 - an extra that takes a second to import

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Of each trial its own, so that a search that was stopped draws what it would have drawn.
    own = seed * 100_003 + number
    chosen = (
        optuna.samplers.RandomSampler(seed=own)
        if sampler == "random"
        else optuna.samplers.TPESampler(seed=own, n_startup_trials=_FIRST)
    )
    study = optuna.create_study(directions=["minimize"] * len(space.objectives), sampler=chosen)
    distributions = {path: _distribution(one) for path, one in space.vary.items()}
    for trial in trials:
        told = _told(space, trials, trial)
        state = optuna.trial.TrialState.COMPLETE if told else optuna.trial.TrialState.FAIL
        study.add_trial(
            optuna.trial.create_trial(state=state, values=told, params=dict(trial.values), distributions=distributions)
        )
    return dict(study.ask(distributions).params)


def _told(space: Space, trials: Sequence[Trial], trial: Trial) -> list[float] | None:
    """A trial's objectives; one that failed was as bad as any: where it is told nothing, the estimator comes again."""
    if not trial.reason:
        return [trial.objectives[name] for name in space.objectives]
    known = [one.objectives for one in trials if not one.reason]
    return [max(one[name] for one in known) for name in space.objectives] if known else None


def _distribution(given: tuple[Value, ...] | Range) -> "BaseDistribution":
    from optuna.distributions import (  # noqa: PLC0415 - as above
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(given, Range):
        return CategoricalDistribution(given)
    if given.whole and isinstance(given.step, int | None):
        return IntDistribution(int(given.low), int(given.high), log=given.log, step=given.step or 1)
    return FloatDistribution(float(given.low), float(given.high), log=given.log, step=given.step)
