"""A space and a budget in; trials, each logged, and the front of those that no other beats, out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store.comparison.pareto import pareto
from model_store.compress.recipe import Recipe
from model_store.errors import StoreError
from model_store.search.samplers import Sampler, next_values
from model_store.search.space import Space
from model_store.search.trials import Log, Trial

Judge = Callable[[Recipe], dict[str, float]]
"""Makes a variant by a recipe and gives its objectives; the workshop's, or a made-up one for tests of what is here."""

_FILE = "trials.jsonl"


@dataclass(frozen=True, slots=True)
class Budget:
    """When to stop: after so many trials, earlier ones included, or when so many minutes are over."""

    trials: int
    minutes: float | None = None


def search(
    space: Space,
    judge: Judge,
    folder: Path,
    budget: Budget,
    *,
    sampler: Sampler = "bayes",
    seed: int = 0,
    report: Callable[[Trial], None] = lambda _: None,
) -> tuple[Trial, ...]:
    """All trials, those of a run before that was stopped included; the front's recipes lie in the folder.

    Raises:
        RecipeError: the folder holds another search, or the sampler cannot be used.
    """
    log = Log(folder / _FILE, f"{space.digest} {sampler} {seed}")
    ends = None if budget.minutes is None else time.monotonic() + 60 * budget.minutes
    while len(log.trials) < budget.trials and (ends is None or time.monotonic() < ends):
        values = next_values(space, log.trials, sampler, seed=seed)
        if values is None:
            break
        number, started = len(log.trials), time.monotonic()
        known = next((one for one in log.trials if one.values == values), None)
        if known is not None:  # a recipe run twice gives the same
            found, reason = known.objectives, known.reason
        else:
            found, reason = _judged(space, judge, values, number)
        spent = round(time.monotonic() - started, 1)
        trial = Trial(number=number, values=values, objectives=found, reason=reason, seconds=spent)
        log.add(trial)
        report(trial)
    keep(space, front(space, log.trials), folder)
    return tuple(log.trials)


def front(space: Space, trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Those that no other beats in all objectives, each choice once, the first objective's best first."""
    done = {tuple(one.values.items()): one for one in trials if not one.reason}
    known = list(done.values())
    points = [tuple(one.objectives[name] for name in space.objectives) for one in known]
    return tuple(
        sorted((known[index] for index in pareto(points)), key=lambda one: one.objectives[space.objectives[0]])
    )


def keep(space: Space, trials: Sequence[Trial], folder: Path) -> tuple[Path, ...]:
    """Writes their recipes, and removes those of trials that have been beaten since."""
    for old in folder.glob("trial-*.toml"):
        old.unlink()
    written = []
    for one in trials:
        path = folder / f"{name_of(one)}.toml"
        path.write_text(space.text_of(one.values, name_of(one)), encoding="utf-8")
        written.append(path)
    return tuple(written)


def name_of(trial: Trial) -> str:
    return f"trial-{trial.number}"


def _judged(
    space: Space, judge: Judge, values: dict[str, bool | int | float | str], number: int
) -> tuple[dict[str, float], str]:
    try:
        found = judge(space.recipe_of(values, f"trial-{number}"))
    except StoreError as error:
        return {}, str(error)
    return {name: float(found[name]) for name in space.objectives}, ""
