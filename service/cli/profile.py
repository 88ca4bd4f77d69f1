"""`wren profile`: what each variant costs on this machine, measured and kept for the server and the plan."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import StoreOption, fail, get, read_settings, reported

if TYPE_CHECKING:
    from model_store.manifest import Manifest
    from model_store.registry import Registry
    from service.engine.device import Device
    from service.engine.survey import Surveyor
    from service.settings import Settings


def profile(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="MODEL or MODEL:VARIANT; all of them if left out.")
    ] = None,
    *,
    cores: Annotated[int | None, typer.Option(min=1, help="Measure with so many. [WREN_THREADS, else all]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Measure anew what was measured, or failed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    store: StoreOption = None,
) -> None:
    """Measure what speech variants cost on this machine: time, memory, load. What was measured before is shown."""
    settings = read_settings(store=store, threads=cores, model="auto")
    from model_store.registry import Registry
    from service import logs
    from service.cli import profile_tables
    from service.engine.device import read_device
    from service.engine.gpu import read_gpus

    logs.configure(log_format=settings.log_format, level="warning")
    with reported(settings):
        registry, device = Registry(settings.store), read_device(gpus=read_gpus(settings.device))
        manifests = _asked(registry.list(), names or [], settings)
        surveyor = _surveyor(registry, device, settings)
        failed = measure(surveyor, manifests if force else surveyor.lacking(manifests))
    found = profile_tables.found(surveyor, manifests, failed)
    if as_json:
        typer.echo(profile_tables.as_json(found))
    else:
        profile_tables.show(found)
    if not found.profiles:
        fail("Nothing could be measured.")


def measure(surveyor: "Surveyor", manifests: Sequence["Manifest"]) -> dict[str, str]:
    """Profile them, and tell on standard error how far it is; why some could not be, by name."""
    from service.engine.attempt import CannotRun, NotTried, OutOfTime

    if manifests and not surveyor.profiles.writable():
        fail(f"Profiles are kept in {surveyor.profiles.folder}, which cannot be written to.")
    failed = {}
    for number, manifest in enumerate(manifests, start=1):
        sys.stderr.write(f"measuring {manifest.name} ({number} of {len(manifests)})\n")
        try:
            surveyor.measure(manifest)
        except (CannotRun, NotTried, OutOfTime) as error:
            failed[manifest.name] = str(error)
    return failed


def _surveyor(registry: "Registry", device: "Device", settings: "Settings") -> "Surveyor":
    from service.engine.survey import Surveyor

    threads = settings.threads or device.cores
    if threads > device.cores:
        fail(f"This process may use {device.cores} cores ({device.cores_reason}), not {threads}.")
    return Surveyor(registry, device, threads=threads, executors=settings.executors)


def _asked(stored: Sequence["Manifest"], names: Sequence[str], settings: "Settings") -> "list[Manifest]":
    """The speech variants that are meant; the command ends if there is none of a name."""
    from service.engine.choice import SPEECH_FAMILIES

    speakers = [one for one in stored if one.family in SPEECH_FAMILIES]
    lacking = [name for name in names if not any(name in (one.model, one.name) for one in speakers)]
    if lacking or not speakers:
        known = ", ".join(one.name for one in speakers) or "no speech model"
        advice = get(tuple(lacking) or ("whisper-tiny.en",), settings.store)
        fail(f"The store {settings.store} has no {' and no '.join(lacking) or 'models'}; it has {known}. {advice}")
    return [one for one in speakers if not names or {one.model, one.name} & set(names)]
