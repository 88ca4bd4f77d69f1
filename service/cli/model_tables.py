"""Tables of `wren models`: manifests and catalogue entries in, rows for a terminal out."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from model_store.catalog import Catalog, Model
from model_store.manifest import Manifest

LISTED_LANGUAGES = 6
"""More are counted, not listed."""

LISTED_CHARACTERS = 24
"""Of the names of recordings; `wren models show` has them all."""

PIPED_COLUMNS = 200


def stored(manifests: Sequence[Manifest], earlier: Sequence[Manifest]) -> Table:
    """A row a variant of the store, each followed by those of its builds that are `earlier`."""
    table = _columns("NAME", "VERSION", "PRECISION", "SIZE", "MADE BY", "WER", "OF", "SPEED", "LICENCE", "LANGUAGES")
    for manifest in manifests:
        builds = [build for build in earlier if build.name == manifest.name]
        for build in (manifest, *sorted(builds, key=lambda build: -build.version)):
            version = str(build.version) if build is manifest else f"{build.version} (earlier)"
            size, languages = decimal(build.total_bytes), _languages(build.languages)
            row = (build.name, version, build.precision, size, _made_by(build), *_figures(build))
            table.add_row(*row, build.license, languages)
    return table


def offered(manifests: Sequence[Manifest], known: Catalog) -> Table:
    """A row a model that only the catalogue has."""
    table = _columns("CAN BE PULLED", "LICENCE", "LANGUAGES")
    held = {manifest.model for manifest in manifests}
    for name, model in sorted(known.models.items()):
        if name not in held:
            table.add_row(name, model.license, _languages(model.languages))
    return table


def details(manifest: Manifest, folder: Path, earlier: Sequence[Manifest]) -> Table:
    """All that is known of a variant but its evaluations."""
    table = _columns(manifest.name, "")
    digest = f"  sha256 {manifest.recipe_sha256}" if manifest.recipe_sha256 else ""
    told = {
        "folder": str(folder),
        "version": f"{manifest.version} of {manifest.created:%Y-%m-%d %H:%M %Z}",
        **{
            f"earlier version {build.version}": f"of {build.created:%Y-%m-%d %H:%M %Z}  {decimal(build.total_bytes)}"
            for build in reversed(earlier)
        },
        "family": manifest.family,
        "precision": manifest.precision,
        "runtime": manifest.runtime,
        "languages": _languages(manifest.languages),
        "licence": manifest.license,
        "source": manifest.source,
        "made from": manifest.parent or "",
        "recipe": f"{manifest.recipe}{digest}",
        "size": decimal(manifest.total_bytes),
    }
    for name, value in told.items():
        table.add_row(name, value)
    for file in manifest.files:
        table.add_row(f"file {file.name}", f"{decimal(file.bytes)}  sha256 {file.sha256}")
    for source in manifest.source_files:
        table.add_row(f"source {source.name}", f"checked against {source.checked}  sha256 {source.sha256}")
    return table


def evaluations(manifest: Manifest) -> Table:
    """A row an evaluation, the latest first."""
    names = ("WER", "95 %", "CER", "SPEED", "P50", "P95", "LOAD", "MEMORY", "ENERGY")
    table = _columns(f"{manifest.name} ON", "LENGTH", *names, "DEVICE", "VERSIONS", "DATE")
    for one in sorted(manifest.evaluations, key=lambda evaluation: evaluation.date, reverse=True):
        table.add_row(
            one.data,
            f"{one.recordings} files, {one.audio_s:.0f} s",
            f"{one.wer:.2f} %",
            f"{one.wer_low:.2f} to {one.wer_high:.2f}",
            f"{one.cer:.2f} %",
            f"{one.speed:.1f}x",
            *(f"{ms:.0f} ms" for ms in (one.latency_p50_ms, one.latency_p95_ms, one.load_ms)),
            decimal(one.peak_bytes),
            "" if one.energy_j is None else f"{one.energy_j:.0f} J",
            one.device,
            ", ".join(f"{name} {version}" for name, version in one.versions.items()),
            f"{one.date:%Y-%m-%d}",
        )
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


def _made_by(manifest: Manifest) -> str:
    return f"{manifest.recipe} of {manifest.parent}" if manifest.parent else manifest.recipe


def _figures(manifest: Manifest) -> tuple[str, str, str]:
    """WER, of which recordings, and speed, as of the latest evaluation."""
    if not manifest.evaluations:
        return "", "", ""
    latest = max(manifest.evaluations, key=lambda evaluation: evaluation.date)
    data = latest.data if len(latest.data) <= LISTED_CHARACTERS else f"{latest.data[: LISTED_CHARACTERS - 1]}…"
    return f"{latest.wer:.2f} %", data, f"{latest.speed:.1f}x"


def _languages(codes: tuple[str, ...]) -> str:
    if len(codes) > LISTED_LANGUAGES:
        return f"{len(codes)} languages"
    return " ".join(codes) or "any"
