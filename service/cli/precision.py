"""`wren precision`: which variants a running server serves and why, what moves it, and what happened lately."""

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.remote import KeyOption, Remote, ServerOption

if TYPE_CHECKING:
    from service.api.precision import PrecisionBody


def precision(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As GET /v1/precision has it.")] = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Show what a running server serves, why, and its last switches."""
    from service.api.precision import PrecisionBody

    told = Remote(server, key).ask(PrecisionBody, "GET", "/v1/precision")
    if as_json:
        typer.echo(told.model_dump_json(indent=2))
    else:
        _show(told)


def _show(told: "PrecisionBody") -> None:
    from service.cli import precision_tables
    from service.cli.model_tables import show

    for one in told.models:
        show(precision_tables.governed(one))
        show(precision_tables.rungs(one))
    show(precision_tables.signals(told))
    if told.events:
        show(precision_tables.events(told.events))
