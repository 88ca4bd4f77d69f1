"""What several commands share: options, the settings that they override, and how a command fails."""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from service.errors import WrenError

if TYPE_CHECKING:
    from service.origins import Sourced
    from service.settings import Settings

StoreOption = Annotated[Path | None, typer.Option(help="Folder of the model store. [WREN_STORE, else .store]")]
ModelOption = Annotated[str | None, typer.Option(help="A name that `wren models list` shows. [WREN_MODEL]")]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="File of settings. [WREN_CONFIG, else wren.toml where it is there]", show_default=False
    ),
]

ANY_MODEL = "auto"
DETECTOR = "silero-vad"

_DEFAULT_STORE = Path(".store")


def fail(message: str, *, code: int = 1) -> NoReturn:
    """End the command with one line on standard error."""
    complain(message)
    raise typer.Exit(code)


def split(listed: str | None) -> tuple[str, ...]:
    """What an option lists, separated by commas."""
    return tuple(re.findall(r"[^,\s]+", listed or ""))


def complain(message: str) -> None:
    sys.stderr.write(f"wren: {message}\n")


def read_settings(**given: str | int | Path | None) -> "Settings":
    """The settings of every source, with the options given on the command line in place of theirs."""
    sourced = read_sources(given)
    for warning in sourced.warnings:
        complain(warning)
    return sourced.settings


def read_sources(
    given: Mapping[str, object] | None = None, *, assigned: Sequence[str] = (), config: Path | None = None
) -> "Sourced":
    """The settings and where each came from; `config` is the command's own file."""
    from service.origins import WrongSettings, read

    try:
        return read(given, assigned=assigned, config=config)
    except WrongSettings as error:
        fail(str(error))


@contextmanager
def reported(settings: "Settings") -> Iterator[None]:
    """Ends the command with one line where Wren cannot do what is asked; it does not even try without the models."""
    lacking = missing_models(settings)
    if lacking:
        fail(f"The store {settings.store} has no {' and no '.join(lacking)}. {get(lacking, settings.store)}")
    try:
        yield
    except WrenError as error:
        fail(str(error))


def missing_models(settings: "Settings") -> tuple[str, ...]:
    """What the store lacks of the model chosen and the speech detector that every model needs."""
    from model_store.registry import Registry

    held = {name for manifest in Registry(settings.store).list() for name in (manifest.model, manifest.name)}
    needed = () if settings.model == ANY_MODEL else (settings.model,)
    return tuple(name for name in (*needed, DETECTOR) if name not in held)


def get(names: tuple[str, ...], store: Path) -> str:
    """What to do where the store lacks models."""
    models = dict.fromkeys(name.partition(":")[0] for name in names)
    elsewhere = "" if store == _DEFAULT_STORE else f" --store {shlex.quote(str(store))}"
    return f"Get it: wren models pull {' '.join(models)}{elsewhere}"
