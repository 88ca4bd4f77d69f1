"""Tables of `wren models`: manifests and catalogue entries in, rows for a terminal out."""

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from model_store.catalog import Catalog, Model
from model_store.manifest import Manifest

LISTED_LANGUAGES = 6
"""More are counted, not listed."""

PIPED_COLUMNS = 200


def listing(manifests: tuple[Manifest, ...], known: Catalog) -> Table:
    """A row a variant in the store, then the models that only the catalogue has."""
    table = _columns("NAME", "PRECISION", "SIZE", "LICENCE", "LANGUAGES", "WHERE")
    for manifest in manifests:
        size, languages = decimal(manifest.total_bytes), _languages(manifest.languages)
        table.add_row(manifest.name, manifest.precision, size, manifest.license, languages, "store")
    stored = {manifest.model for manifest in manifests}
    for name, model in sorted(known.models.items()):
        if name not in stored:
            table.add_row(name, "", "", model.license, _languages(model.languages), "catalogue only")
    return table


def details(manifest: Manifest, folder: Path) -> Table:
    """All that is known of a variant."""
    table = _columns(manifest.name, "")
    told = {
        "folder": str(folder),
        "family": manifest.family,
        "precision": manifest.precision,
        "runtime": manifest.runtime,
        "languages": _languages(manifest.languages),
        "licence": manifest.license,
        "source": manifest.source,
        "made from": manifest.parent or "",
        "recipe": manifest.recipe,
        "created": f"{manifest.created:%Y-%m-%d %H:%M %Z}",
        **{f"WER on {one.data}": f"{one.wer:.2f} %" for one in manifest.evaluations},
    }
    for name, value in told.items():
        table.add_row(name, value)
    for file in manifest.files:
        table.add_row(f"file {file.name}", f"{decimal(file.bytes)}  sha256 {file.sha256}")
    for source in manifest.source_files:
        table.add_row(f"source {source.name}", f"checked against {source.checked}  sha256 {source.sha256}")
    return table


def offer(name: str, model: Model) -> Table:
    """Where a model could be pulled from."""
    table = _columns(name, "not in the store")
    table.add_row("family", model.family)
    table.add_row("languages", _languages(model.languages))
    table.add_row("licence", model.license)
    for source in model.sources:
        table.add_row("source", source.label)
    return table


def show(table: Table) -> None:
    """Prints a table; what is too wide for the terminal is folded, and nothing is where a program reads it."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = PIPED_COLUMNS
    console.print(table)


def _columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _languages(codes: tuple[str, ...]) -> str:
    if len(codes) > LISTED_LANGUAGES:
        return f"{len(codes)} languages"
    return " ".join(codes) or "any"
