"""The command `wren`. Each command imports what it needs when it runs: help and version answer at once."""

import typer

from service import __version__
from service.cli import compress, doctor, evaluate, models, plan, profile, report, serve, transcribe

app = typer.Typer(
    name="wren",
    help="Speech recognition for machines that are short of memory, cores or GPU.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve.serve)
app.command()(transcribe.transcribe)
app.command()(compress.compress)
app.command()(evaluate.evaluate)
app.command()(plan.plan)
app.command()(profile.profile)
app.command()(report.report)
app.command()(doctor.doctor)
app.add_typer(models.app, name="models")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
