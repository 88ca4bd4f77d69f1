"""`wren evaluate`: its options. Only tables or JSON go to standard output."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import StoreOption, read_settings, split


def evaluate(  # noqa: PLR0913 - one parameter an option
    names: Annotated[
        list[str] | None, typer.Argument(metavar="VARIANT", help="MODEL:VARIANT, or MODEL for all its variants.")
    ] = None,
    *,
    data: Annotated[
        Path | None, typer.Option(help="Recordings: manifest.jsonl, folders of those, LibriSpeech or Common Voice.")
    ] = None,
    sets: Annotated[str | None, typer.Option(help="Sets of the data, separated by commas; left out, all.")] = None,
    lang: Annotated[
        str | None, typer.Option(help="Languages to keep, separated by commas; left out, those of the variant.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many recordings of each set.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Compute threads; left out, a core each.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Keep the hypotheses here; left out, in the store's .evaluations.")
    ] = None,
    scored_from: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Score hypotheses that were kept; nothing is computed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    store: StoreOption = None,
) -> None:
    """Measure variants on recordings with references, and note it in their manifests."""
    if scored_from is None and (not names or data is None):
        raise typer.BadParameter("name variants and --data DIR, or --from FILE")
    settings = read_settings(store=store, threads=threads)
    from service.cli import evaluation_tables, model_tables
    from service.cli.evaluation import Evaluating

    evaluating = Evaluating(settings.store, threads=settings.threads, out=out)
    if scored_from is not None:
        evaluating.rescore(scored_from)
    elif names and data:
        evaluating.run(names, data, sets=split(sets), languages=split(lang), limit=limit)
    rows = evaluating.rows
    if as_json:
        typer.echo(evaluation_tables.as_json(rows))
    elif rows:
        model_tables.show(evaluation_tables.figures(rows))
        if evaluation_tables.several_sets(rows):
            typer.echo()
            model_tables.show(evaluation_tables.sets(rows))
    if evaluating.failed:
        raise typer.Exit(1)
