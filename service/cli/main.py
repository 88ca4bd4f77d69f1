"""The command `wren`. Each command imports what it needs when it runs: help and version answer at once."""

import os

import typer

from service import __version__
from service.cli import (
    compress,
    config,
    doctor,
    evaluate,
    keys,
    listen,
    models,
    plan,
    precision,
    profile,
    report,
    search,
    serve,
    serving,
    train,
    transcribe,
)
from service.cli.options import ConfigOption

app = typer.Typer(
    name="wren",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    # --server was --url once.
    context_settings={"token_normalize_func": lambda name: "server" if name == "url" else name},
)
app.command()(serve.serve)
app.command()(transcribe.transcribe)
app.command()(listen.listen)
app.command()(compress.compress)
app.command()(train.train)
app.command()(search.search)
app.command()(evaluate.evaluate)
app.command()(plan.plan)
app.command()(precision.precision)
app.command()(profile.profile)
app.command()(report.report)
app.command()(doctor.doctor)
models.app.command()(serving.load)
models.app.command()(serving.unload)
models.app.command()(serving.pin)
app.add_typer(models.app, name="models")
app.add_typer(config.app, name="config")
app.add_typer(keys.app, name="keys")


@app.callback()
def wren(*, config: ConfigOption = None) -> None:
    """Speech recognition for machines that are short of memory, cores or GPU."""
    if config is not None:  # whatever the command: as if the variable said so
        os.environ["WREN_CONFIG"] = str(config)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
