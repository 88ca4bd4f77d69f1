"""`wren models load`, `unload` and `pin`: what a running server holds in memory, and what it serves."""

from typing import Annotated

import typer

from service.cli.options import ANY_MODEL
from service.cli.remote import KeyOption, Remote, ServerOption, path_of

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="MODEL or MODEL:VARIANT.")]


def load(
    name: NameArgument,
    *,
    keep_alive: Annotated[
        str | None, typer.Option(help="How long it stays without use: seconds, 5m, 1h, 0, or -1 for ever.")
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Have a running server load a variant; of a model the one that it serves."""
    from service.api.models import ModelBody
    from service.units import shown_size

    query = {"keep_alive": keep_alive} if keep_alive is not None else {}
    loaded = Remote(server, key).ask(ModelBody, "POST", path_of(name, "load", **query))
    size = shown_size(loaded.memory_bytes or 0)
    typer.echo(f"{loaded.serves} is {loaded.state}: {size}, loaded in {loaded.load_ms or 0:.0f} ms")


def unload(name: NameArgument, *, server: ServerOption = None, key: KeyOption = None) -> None:
    """Have a running server take a variant out of memory, of a model all; waits for the requests that use it."""
    from service.api.models import ModelList

    gone = Remote(server, key).ask(ModelList, "POST", path_of(name, "unload")).data
    for model in gone:
        stays = f"{model.serves} is {model.state} still, for it was asked for again"
        typer.echo(f"Unloaded {model.serves}" if model.state == "available" else stays)
    if not gone:
        typer.echo(f"Nothing of {name} was in memory")


def pin(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="What is to serve: a precision such as int8, a variant, or MODEL:VARIANT."),
    ] = None,
    *,
    none: Annotated[bool, typer.Option("--none", help="Take the pin back: load and memory decide again.")] = False,
    model: Annotated[
        str | None, typer.Option(help="Of this model. [that of NAME, else auto: what clients get by default]")
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Have a running server serve one variant, whatever the load; returns when it does."""
    from service.api.admin import OrdersForm
    from service.api.precision import PrecisionBody

    if none == (name is not None):
        raise typer.BadParameter("give what is to serve, or --none", param_hint="NAME")
    named = name.partition(":")[0] if name and ":" in name else ANY_MODEL
    model = model or named
    told = Remote(server, key).ask(PrecisionBody, "PUT", "/v1/precision", OrdersForm(model=model, pin=name))
    one = next((one for one in told.models if one.model == model), told.models[0])
    typer.echo(f"{one.serving} serves {model}: {one.reason}")
