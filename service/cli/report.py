"""`wren report`: one HTML page with all variants beside each other."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import StoreOption, complain, fail, get, read_settings

if TYPE_CHECKING:
    from model_store.comparison.rows import Comparison, Here
    from model_store.manifest import Manifest
    from service.settings import Settings


def report(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page.")] = Path("report.html"),
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Recordings, or the beginning of their digest; left out, the most used."),
    ] = None,
    models: Annotated[list[str] | None, typer.Option("--model", help="Only this model; may be repeated.")] = None,
    store: StoreOption = None,
) -> None:
    """Write a page that compares variants: a table, and charts of size, speed and errors with their Pareto front."""
    settings = read_settings(store=store, model="auto")
    from model_store.comparison.page import render
    from model_store.comparison.rows import compare
    from model_store.errors import StoreError
    from service.engine.device import read_device
    from service.engine.fingerprint import machine
    from service.engine.gpu import read_gpus

    try:
        manifests = _asked(settings, models or [])
        here = _here(settings, manifests)
        comparison = compare(manifests, data=data, here=here)
        device = read_device(gpus=read_gpus(settings.device))
        page = render(comparison, made=datetime.now(UTC), machine=str(machine(device)) if here else None)
        output.write_text(page, encoding="utf-8")
    except (StoreError, OSError) as error:
        fail(str(error))
    _tell(comparison, output)


def _asked(settings: "Settings", models: Sequence[str]) -> "list[Manifest]":
    """The speech variants of these models, of all if none is named; the command ends where one is not in the store."""
    from model_store.registry import Registry
    from service.engine.choice import SPEECH_FAMILIES

    listing = Registry(settings.store).scan()
    for problem in listing.problems:
        complain(f"left out: {problem}")
    speakers = [manifest for manifest in listing.manifests if manifest.family in SPEECH_FAMILIES]
    lacking = tuple(name for name in models if name not in {manifest.model for manifest in speakers})
    if lacking:
        fail(f"The store {settings.store} has no {' and no '.join(lacking)}. {get(lacking, settings.store)}")
    return [manifest for manifest in speakers if not models or manifest.model in models]


def _here(settings: "Settings", manifests: "Sequence[Manifest]") -> "dict[str, Here]":
    """What the variants cost on this machine, as far as they were profiled."""
    from model_store.comparison.rows import Here
    from model_store.registry import Registry
    from service.engine.device import read_device
    from service.engine.gpu import read_gpus
    from service.engine.planner import Planner

    device = read_device(gpus=read_gpus(settings.device))
    known = Planner(Registry(settings.store), device, settings).known(manifests)
    return {name: Here(one.memory_bytes, one.latency_ms, one.speed) for name, one in known.costs.items()}


def _tell(comparison: "Comparison", output: Path) -> None:
    names = [row.manifest.name for group in comparison.groups if group.model for row in group.rows]
    compared = sum(len(group.compared) for group in comparison.groups if group.model)
    data = f"{comparison.example.data} ({comparison.example.data_sha256[:16]})"
    typer.echo(f"{output}: {compared} of {len(names)} variants compared on {data}")
