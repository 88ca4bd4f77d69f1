"""`wren plan`: which variants fit a budget on this machine, in which order and why, and what rules the others out."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from service.cli.options import StoreOption, complain, fail, get, read_settings

if TYPE_CHECKING:
    from model_store.manifest import Manifest
    from service.engine.budget import Asked
    from service.engine.plan import Plan
    from service.settings import Settings

T = TypeVar("T")


class Prefer(StrEnum):
    """What is best among what fits."""

    BALANCED = "balanced"
    ACCURACY = "accuracy"
    SPEED = "speed"


def plan(  # noqa: PLR0913 - one parameter an option
    *,
    memory: Annotated[
        str | None, typer.Option(help="Such as 300MB or 512MiB. [WREN_MEMORY, else what there is]")
    ] = None,
    gpu_memory: Annotated[
        str | None, typer.Option(help="Such as 8GB, of each GPU. [WREN_GPU_MEMORY, else what is free]")
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="[WREN_THREADS, else what there is]")] = None,
    latency: Annotated[
        str | None, typer.Option(help="Such as 300ms, for six seconds of speech. [WREN_LATENCY]")
    ] = None,
    max_wer_loss: Annotated[
        float | None, typer.Option(min=0, help="Points of WER; inf takes unknown losses. [WREN_MAX_WER_LOSS, else 1]")
    ] = None,
    prefer: Annotated[
        Prefer | None, typer.Option(help="What is best of what fits. [WREN_PREFER, else balanced]")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model, or auto for all of them. [WREN_MODEL]")] = None,
    measure: Annotated[bool, typer.Option(help="Profile what was not measured with so many cores.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="For machines, as GET /v1/plan has it.")] = False,
    store: StoreOption = None,
) -> None:
    """Choose variants by a budget. Ends with status 1 and the nearest budget that would do if none fits."""
    from service.engine.budget import Asked
    from service.units import parse_duration_ms, parse_size

    asked = Asked(
        memory_bytes=_read("--memory", memory, parse_size),
        gpu_memory_bytes=_read("--gpu-memory", gpu_memory, parse_size),
        cores=cores,
        latency_ms=_read("--latency", latency, parse_duration_ms),
        max_wer_loss=max_wer_loss,
        prefer=prefer.value if prefer else None,
    )
    settings = read_settings(store=store)
    name = (model or settings.model).partition(":")[0]
    found = _planned(settings, name, asked, measure=measure)
    _show(name, found, as_json=as_json)
    if not found.chosen:
        _refuse(found)


def _planned(settings: "Settings", name: str, asked: "Asked", *, measure: bool) -> "Plan":
    from model_store.registry import Registry
    from service import logs
    from service.cli.profile import measure as measure_all
    from service.engine.device import read_device
    from service.engine.gpu import read_gpus
    from service.engine.planner import Planner

    logs.configure(log_format=settings.log_format, level="warning")
    registry = Registry(settings.store)
    manifests = _of(registry.list(), name, settings)
    device = read_device(gpus=read_gpus(settings.device))
    planner = Planner(registry, device, settings)
    if measure:
        surveyor = planner.surveyor(asked)
        if surveyor.conditions.threads > device.cores:
            fail(f"There are {device.cores} cores ({device.cores_reason}). Plan with what is known: --no-measure.")
        for variant, reason in measure_all(surveyor, surveyor.lacking(manifests)).items():
            complain(f"{variant}: {reason}")
    return planner.plan(manifests, asked)


def _of(stored: "Sequence[Manifest]", name: str, settings: "Settings") -> "list[Manifest]":
    """The variants that the plan is to compare; the command ends if there is none."""
    from service.engine.choice import AUTO, SPEECH_FAMILIES

    speakers = [manifest for manifest in stored if manifest.family in SPEECH_FAMILIES]
    of_name = [manifest for manifest in speakers if name in (AUTO, manifest.model)]
    if not of_name:
        models = ", ".join(dict.fromkeys(manifest.model for manifest in speakers)) or "no model"
        fail(f"The store {settings.store} has no {name}; it has {models}. {get((name,), settings.store)}")
    return of_name


def _show(name: str, found: "Plan", *, as_json: bool) -> None:
    if as_json:
        from service.api.plan import plan_body

        typer.echo(plan_body(name, found).model_dump_json(indent=2))
        return
    from service.cli import plan_tables

    plan_tables.show(found)


def _refuse(found: "Plan") -> None:
    from service.engine.nearest import ways

    nearest = "; or ".join(map(str, ways(found)))
    fail(f"Nothing fits. {f'What would do: {nearest}.' if nearest else 'No other budget is known to help.'}")


def _read(option: str, text: str | None, parse: Callable[[str], T]) -> T | None:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
