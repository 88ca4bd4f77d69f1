"""Profiles in; a table for a terminal, or JSON, out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter
from rich.table import Table

from model_store.manifest import Manifest
from service.cli.model_tables import show as show_table
from service.engine.fingerprint import Conditions, Machine
from service.engine.forming import Point
from service.engine.lanes import BUCKETS
from service.engine.profile import Profile, Service, Timings
from service.engine.survey import Surveyor
from service.units import shown_size

COLUMNS = (
    "LOAD MS",
    "IDLE",
    "PEAK",
    "ENCODE MS 2 / 6 / 30 S",
    "STEP MS 1 / 8 ROWS",
    "LATENCY MS",
    "SPEED",
    "EXECUTORS",
)

ENCODED = (0, 1, 3)
"""Of the lengths that are timed (`timing.WINDOWS_S`), those that have a column: 2, 6 and 30 s."""

STEPPED = (1, 8)
"""Rows that have a column."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of some variants on this machine under the same conditions, each by its name."""

    machine: Machine
    conditions: Conditions
    profiles: dict[str, Profile]
    cannot_run: dict[str, str]


def found(surveyor: Surveyor, manifests: Sequence[Manifest], failed: Mapping[str, str]) -> Found:
    """What is kept, and what failed just now."""
    profiles, conditions = surveyor.profiles, surveyor.conditions
    known = {one.name: profiles.find(one, conditions) for one in manifests if one.name not in failed}
    refused = {one.name: profiles.refusal(one, conditions) for one in manifests}
    return Found(
        profiles.machine,
        conditions,
        {name: profile for name, profile in known.items() if profile is not None},
        {name: reason for name, reason in refused.items() if reason is not None} | dict(failed),
    )


def as_json(found: Found) -> str:
    return TypeAdapter(Found).dump_json(found, indent=2).decode()


def show(found: Found) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"{found.conditions.threads} CORES")
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for name, profile in found.profiles.items():
        if profile.timings is not None and profile.service is not None:
            table.add_row(name, *_row(profile, profile.timings, profile.service))
    show_table(table)
    for name, reason in found.cannot_run.items():
        show_table(_line(f"{name} cannot run here: {reason}"))
    show_table(_line(f"on {found.machine}"))


def _row(profile: Profile, timings: Timings, service: Service) -> tuple[str, ...]:
    layout = profile.layout
    return (
        f"{timings.load_ms:.0f}",
        shown_size(service.idle_bytes),
        shown_size(service.peak_bytes),
        " / ".join(f"{_of_one_row(profile.encode.points)[index].ms:.0f}" for index in ENCODED),
        " / ".join(_step(timings.steps, rows) for rows in STEPPED),
        f"{service.latency_ms:.0f}",
        f"{timings.speed:.0f}x",
        f"{layout.executors} x {layout.threads} threads, {profile.rows} rows",
    )


def _of_one_row(points: Sequence[Point]) -> list[Point]:
    """The shortest first."""
    return sorted((point for point in points if point.rows == 1), key=lambda point: point.length)


def _step(steps: Sequence[Point], rows: int) -> str:
    """A dash where memory is so short that no batch has so many rows."""
    times = [point.ms for point in steps if (point.rows, point.length) == (rows, BUCKETS[0])]
    return f"{times[0]:.1f}" if times else "-"


def _line(text: str) -> Table:
    """A line that is folded as a table's cell is."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_row(text)
    return table
