"""`wren doctor`: what is installed, what this machine has, whether a sentence is understood, and what to do if not."""

from typing import Annotated

import typer

from service.cli.options import ModelOption, StoreOption, read_settings


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    store: StoreOption = None,
    model: ModelOption = None,
) -> None:
    """Examine this installation and this machine."""
    settings = read_settings(store=store, model=model)
    from rich.console import Console

    from service import logs
    from service.cli import checks, findings

    logs.configure(log_format=settings.log_format, level="error")
    found = checks.examine(settings)
    if as_json:
        typer.echo(findings.as_json(found))
    else:
        findings.show(found, Console())
    if not findings.healthy(found):
        raise typer.Exit(1)
