"""`wren keys`: the file of keys that let clients in."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from service.cli.options import complain, fail, read_settings
from service.errors import WrenError

if TYPE_CHECKING:
    from service.api.keys_file import Key, Scope

app = typer.Typer(name="keys", help="Make, list and remove API keys.", no_args_is_help=True)

FileOption = Annotated[Path | None, typer.Option("--file", help="File of keys. [WREN_KEYS_FILE]")]
NameArgument = Annotated[str, typer.Argument(help="Up to 64 letters, digits or ._-")]


@app.command()
def new(
    name: NameArgument,
    *,
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help="`transcribe`, the default, or `admin`; may be repeated."),
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Requests and streams that it may begin in a minute.")
    ] = None,
    audio_seconds_per_minute: Annotated[
        float | None, typer.Option(min=1, help="Seconds of audio that it may have transcribed in a minute.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Requests and streams that it may have at once.")
    ] = None,
    file: FileOption = None,
) -> None:
    """Make a key and print it, this once; without a file its table too, to be put into one.

    A limit that is not given is that of the settings.
    """
    from service.api.keys_file import Key, digest_of, is_name, new_key, table
    from service.api.quota import Limits

    if not is_name(name):
        fail(f"{name[:80]!r} is no name for a key: take up to 64 letters, digits or ._-")
    key = new_key()
    limits = Limits(requests_per_minute, audio_seconds_per_minute, concurrency)
    entry = Key(name, digest_of(key), _scopes(scopes or ["transcribe"]), limits)
    path = _path(file)
    if path is None:
        complain("There is no file of keys (--file or WREN_KEYS_FILE): put this table into one.")
        typer.echo(f"{key}\n\n{table(entry)}", nl=False)
        return
    kept = _read(path) if path.exists() else ()
    if any(one.name == name for one in kept):
        fail(f"There is a key {name!r} in {path} already. Take another name, or remove it first.")
    _write(path, (*kept, entry))
    typer.echo(key)


@app.command("list")
def list_keys(*, file: FileOption = None) -> None:
    """Show the names, scopes and limits of the keys; the keys themselves are nowhere."""
    for key in _read(_needed(file)):
        limits = [f"{name}={most:g}" for name, most in asdict(key.limits).items() if most is not None]
        typer.echo("\t".join([key.name, ",".join(sorted(key.scopes)), *limits]))


@app.command()
def remove(name: NameArgument, *, file: FileOption = None) -> None:
    """Take a key out of the file: a server that runs refuses it at once."""
    path = _needed(file)
    keys = _read(path)
    kept = tuple(key for key in keys if key.name != name)
    if len(kept) == len(keys):
        fail(f"There is no key {name!r} in {path}.")
    _write(path, kept)


def _scopes(named: list[str]) -> "frozenset[Scope]":
    from service.api.keys_file import Scope

    known = get_args(Scope)
    for name in named:
        if name not in known:
            fail(f"{name[:80]!r} is no scope: take {' or '.join(known)}.")
    return frozenset(scope for scope in known if scope in named)


def _path(file: Path | None) -> Path | None:
    return file or read_settings().keys_file


def _needed(file: Path | None) -> Path:
    return _path(file) or fail("There is no file of keys: name one with --file or WREN_KEYS_FILE.")


def _read(path: Path) -> "tuple[Key, ...]":
    from service.api.keys_file import read_keys

    try:
        return read_keys(path)
    except WrenError as error:
        fail(str(error))


def _write(path: Path, keys: "tuple[Key, ...]") -> None:
    from service.api.keys_file import write_keys

    try:
        write_keys(path, keys)
    except OSError as error:
        fail(f"Cannot write {path}: {error.strerror}")
