"""`wren search`: a space of recipes and a budget in, the variants that no others beat out."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.compress import utterances, warn
from service.cli.options import StoreOption, complain, fail, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_store.search.space import Space
    from model_store.search.trials import Trial


class SamplerName(Enum):
    grid = "grid"
    random = "random"
    bayes = "bayes"


def search(  # noqa: PLR0913 - one parameter an option
    model: Annotated[str, typer.Argument(help="A model of the store, such as whisper-tiny.en.")],
    *,
    space: Annotated[Path, typer.Option(help="A .toml: a recipe, and which of its settings vary.")],
    data: Annotated[Path, typer.Option(help="Recordings with references that every trial is judged by.")],
    sets: Annotated[str | None, typer.Option(help="Sets of the data, separated by commas; left out, all.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Recordings that steps look at: others than those it is judged by.")
    ] = None,
    calibration_sets: Annotated[str | None, typer.Option(help="Sets of these, separated by commas.")] = None,
    training: Annotated[Path | None, typer.Option(help="Recordings to train on, where a step trains.")] = None,
    training_sets: Annotated[str | None, typer.Option(help="Sets of these, separated by commas.")] = None,
    sampler: Annotated[SamplerName, typer.Option(help="grid, random or bayes.")] = SamplerName.bayes,
    trials: Annotated[int, typer.Option(min=1, help="At most so many, those of a run before included.")] = 20,
    minutes: Annotated[float | None, typer.Option(min=0, help="None is begun when so many are over.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampler.")] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="Where trials and the front's recipes are kept. [STORE/.search/MODEL-SPACE]")
    ] = None,
    register: Annotated[bool, typer.Option("--register", help="Make and register the front's variants.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Compute threads; left out, a core each.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: all trials, and the numbers of the front.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Try settings of a recipe under a budget and keep those that no others beat.

    A search that was stopped goes on behind its last trial.
    """
    from model_store.compress.recipe import Recipe
    from model_store.compress.workshop import Material, Workshop
    from model_store.errors import StoreError
    from model_store.registry import Registry
    from model_store.search import search as searching
    from model_store.search import space as spaces
    from service.engine.device import read_device

    settings = read_settings(store=store, threads=threads)
    registry = Registry(settings.store)
    try:
        asked = spaces.read(space)
        languages = registry.get(model, "fp32").languages
        judged = utterances(data, sets, languages)
        seen = utterances(calibration, calibration_sets, languages, referenced_only=False)
        taught = utterances(training, training_sets, languages, referenced_only=False)
        warn((*seen, *taught), judged)
        kept = folder or settings.store / ".search" / f"{model}-{space.stem}"
        workshop = Workshop(registry, threads=settings.threads or read_device().cores)
        material = Material(seen, judged, taught, kept / "training")

        def judge(recipe: Recipe) -> dict[str, float]:
            outcome = workshop.tried(model, recipe, material)
            assert outcome.evaluation is not None, "what is tried is evaluated"
            figures = outcome.evaluation.model_dump(include={"wer", "latency_p50_ms", "peak_bytes", "load_ms"})
            return {**figures, "bytes": outcome.manifest.total_bytes}

        budget = searching.Budget(trials, minutes)
        done = searching.search(
            asked, judge, kept, budget, sampler=sampler.value, seed=seed, report=lambda trial: complain(_line(trial))
        )
        front = searching.front(asked, done)
        _tell(asked, done, front, as_json=as_json)
        if not front:
            fail("No trial could be carried out; the lines above say why.")
        complain(f"the recipes are in {kept}")
        for one in front if register else ():
            recipe = asked.recipe_of(one.values, searching.name_of(one))
            workshop.build(model, recipe, material)
            complain(f"{model}:{recipe.name} is in the store")
    except StoreError as error:
        fail(str(error))


def _line(trial: "Trial") -> str:
    choice = ", ".join(f"{path} = {value}" for path, value in trial.values.items())
    told = trial.reason or ", ".join(f"{name} {value:.6g}" for name, value in trial.objectives.items())
    return f"trial {trial.number} ({trial.seconds:.0f} s): {choice}: {told}"


def _tell(space: "Space", trials: "Sequence[Trial]", front: "Sequence[Trial]", *, as_json: bool) -> None:
    import json

    from rich.console import Console
    from rich.table import Table

    if as_json:
        told = {"trials": [one.model_dump() for one in trials], "front": [one.number for one in front]}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    table = Table(title=f"{len(front)} of {len(trials)} trials are beaten by none", box=None)
    for name in ("trial", *space.objectives, *space.vary):
        table.add_column(name, justify="right")
    for one in front:
        figures = [f"{one.objectives[name]:.6g}" for name in space.objectives]
        table.add_row(str(one.number), *figures, *(str(one.values[path]) for path in space.vary))
    Console(highlight=False).print(table)
