"""`wren compress`: its options and its lines. One recipe that fails does not cost the others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import StoreOption, complain, fail, read_settings, split

if TYPE_CHECKING:
    from model_store.compress.recipe import Recipe
    from model_store.compress.workshop import Outcome
    from model_store.evaluate.layouts import Utterance


def compress(  # noqa: PLR0913 - one parameter an option
    model: Annotated[str | None, typer.Argument(help="A model of the store, such as whisper-tiny.en.")] = None,
    *,
    recipes: Annotated[
        list[str] | None,
        typer.Option("--recipe", "-r", help="A shipped recipe, or the path of a .toml; may be repeated."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Recordings with references that the outcome is judged by.")] = None,
    sets: Annotated[str | None, typer.Option(help="Sets of the data, separated by commas; left out, all.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Recordings that steps look at: others than those it is judged by.")
    ] = None,
    calibration_sets: Annotated[str | None, typer.Option(help="Sets of these, separated by commas.")] = None,
    max_wer_growth: Annotated[
        float | None, typer.Option(min=0, help="Points of WER that may be lost, in place of the recipe's.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Compute threads; left out, a core each.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show the recipes that come with Wren.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a variant.")] = False,
    store: StoreOption = None,
) -> None:
    """Make variants of a model by recipes, and register those that lose no more than allowed."""
    from model_store.compress import recipe as recipe_files
    from model_store.errors import StoreError

    if listed:
        for name in recipe_files.names():
            typer.echo(f"{name:<20} {recipe_files.shipped(name).about}")
        return
    if model is None or not recipes:
        raise typer.BadParameter("name a model and a --recipe, or --list")
    if ":" in model:
        fail(f"Variants are made of a model's base variant: name the model alone, {model.partition(':')[0]}.")
    from model_store.compress.workshop import Material, Workshop
    from model_store.registry import Registry
    from service.engine.device import read_device

    settings = read_settings(store=store, threads=threads)
    registry = Registry(settings.store)
    try:
        asked = [recipe_files.find(name) for name in recipes]
        languages = registry.get(model, "fp32").languages
        judged = utterances(data, sets, languages)
    except StoreError as error:
        fail(str(error))
    workshop = Workshop(registry, threads=settings.threads or read_device().cores, report=complain)
    failed = False
    for one in asked:
        try:
            of_recipe = ",".join(one.calibration.sets)
            seen = utterances(calibration, calibration_sets or of_recipe, languages, referenced_only=False)
            warn(seen, judged)
            outcome = workshop.build(model, one, Material(seen, judged), max_wer_growth=max_wer_growth)
            tell(outcome, one, as_json=as_json)
        except StoreError as error:
            complain(str(error))
            failed = True
    if failed:
        raise typer.Exit(1)


def utterances(
    data: Path | None, sets: str | None, languages: tuple[str, ...], *, referenced_only: bool = True
) -> "tuple[Utterance, ...]":
    """Of a folder, or none where none is named."""
    from model_store.evaluate import datasets

    if data is None:
        return ()
    return datasets.read(data, sets=split(sets), languages=languages, referenced_only=referenced_only)


def warn(seen: "tuple[Utterance, ...]", judged: "tuple[Utterance, ...]") -> None:
    """Where recordings are on both sides."""
    both = {one.path for one in seen} & {one.path for one in judged}
    if both:
        complain(f"{len(both)} recordings are looked at and judged by: the loss that is measured will flatter")


def tell(outcome: "Outcome", recipe: "Recipe", *, as_json: bool) -> None:
    """What became of a recipe."""
    import json

    from rich.filesize import decimal

    manifest, evaluation, growth = outcome.manifest, outcome.evaluation, outcome.growth
    if as_json:
        lost = None if growth is None else {"points": growth.points, "low": growth.low, "high": growth.high}
        typer.echo(json.dumps({"variant": manifest.model_dump(mode="json"), "wer_growth": lost}))
        return
    told = f"{manifest.name} is in the store: {decimal(manifest.total_bytes)}, version {manifest.version}"
    if evaluation is None or growth is None:
        typer.echo(f"{told}; it was not judged, for {recipe.name} has no gate and no --data was given")
        return
    between = f"95 %: {growth.low:+.2f} to {growth.high:+.2f}"
    typer.echo(f"{told}; WER {evaluation.wer:.2f} %, {growth.points:+.2f} points over {manifest.parent} ({between})")
