"""`wren config`: what every setting is, and where it comes from."""

from typing import Annotated

import typer

from service.cli.options import ConfigOption, complain, read_sources

app = typer.Typer(name="config", help="Show the settings.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Show the settings."""


@app.command()
def show(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array instead of a table.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show every setting with its value and where that comes from; fails where `wren serve` would."""
    sourced = read_sources(config=config)
    for warning in sourced.warnings:
        complain(warning)
    from service.cli import config_tables, model_tables

    if as_json:
        typer.echo(config_tables.as_json(sourced))
    else:
        model_tables.show(config_tables.table(sourced))
