"""`wren train`: recipes with steps that train, their recordings, and a line that says how far it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.compress import tell, utterances, warn
from service.cli.options import StoreOption, complain, fail, read_settings

if TYPE_CHECKING:
    from model_store.train.studio import Told, Watch


def train(  # noqa: PLR0913 - one parameter an option
    model: Annotated[str, typer.Argument(help="A model of the store, such as whisper-tiny.en.")],
    *,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="A shipped recipe, or the path of a .toml.")],
    training: Annotated[
        Path,
        typer.Option(help="Recordings to train on: manifest.jsonl, LibriSpeech, Common Voice, or any folder of audio."),
    ],
    training_sets: Annotated[str | None, typer.Option(help="Sets of these, separated by commas.")] = None,
    data: Annotated[Path | None, typer.Option(help="Recordings with references that the outcome is judged by.")] = None,
    sets: Annotated[str | None, typer.Option(help="Sets of the data, separated by commas; left out, all.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Recordings that other steps of the recipe look at.")] = None,
    calibration_sets: Annotated[str | None, typer.Option(help="Sets of these, separated by commas.")] = None,
    language: Annotated[str | None, typer.Option(help="Train on recordings in this language alone.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where examples and checkpoints are kept. [STORE/.training/MODEL-RECIPE]")
    ] = None,
    max_wer_growth: Annotated[
        float | None, typer.Option(min=0, help="Points of WER that may be lost, in place of the recipe's.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Compute threads; left out, a core each.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a variant.")] = False,
    store: StoreOption = None,
) -> None:
    """Train a variant of a model by a recipe, and register it if it loses no more than allowed.

    A run that was stopped goes on where it was. On several GPUs: torchrun --nproc-per-node N -m service.cli train …
    """
    from model_store.compress import recipe as recipe_files
    from model_store.compress.workshop import Material, Workshop
    from model_store.errors import StoreError
    from model_store.registry import Registry
    from model_store.train.studio import NotLeading
    from service.engine.device import read_device
    from service.errors import WrenError

    settings = read_settings(store=store, threads=threads)
    registry = Registry(settings.store)
    try:
        asked = recipe_files.find(recipe)
        languages = registry.get(model, "fp32").languages
        if language is not None and language not in languages:
            fail(f"{model} does not know the language {language}; it knows {', '.join(languages)}.")
        judged = utterances(data, sets, languages)
        taught = utterances(training, training_sets, (language,) if language else languages, referenced_only=False)
        seen = utterances(calibration, calibration_sets, languages, referenced_only=False)
        warn((*taught, *seen), judged)
        kept = folder or settings.store / ".training" / f"{model}-{asked.name}"
        workshop = Workshop(registry, threads=settings.threads or read_device().cores, report=complain)
        with _watching(asked.name) as watch:
            material = Material(seen, judged, taught, kept, watch)
            outcome = workshop.build(model, asked, material, max_wer_growth=max_wer_growth)
        tell(outcome, asked, as_json=as_json)
    except (StoreError, WrenError) as error:
        fail(str(error))
    except NotLeading:
        return


@contextmanager
def _watching(name: str) -> "Iterator[Watch]":
    """A bar with the loss beside it where somebody looks, and a line every hundred steps where nobody does."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)

        def watch(told: "Told") -> None:
            line = f"{name}: loss {told.loss:.4f}"
            progress.update(task, description=line, completed=told.step, total=told.steps)
            if told.held_out is not None:
                complain(f"step {told.step} of {told.steps}: held-out WER {told.held_out:.2f} %")
            elif not console.is_terminal and told.step % 100 == 0:
                complain(f"step {told.step} of {told.steps}: loss {told.loss:.4f}")

        yield watch
