"""Settings with their origins in; a table for people or JSON for programs out. Secrets are counted, never shown."""

import math

from pydantic import BaseModel, TypeAdapter
from rich.table import Table

from service.faults import without_password
from service.origins import Kind, Sourced
from service.settings import MIB, Settings, is_secret

HIDDEN = "***"

Value = str | bool | int | float | tuple[str, ...] | None


class Row(BaseModel):
    """One setting; `place` is the variable, file or flag that says it."""

    setting: str
    value: Value
    origin: Kind
    place: str


def rows(sourced: Sourced) -> tuple[Row, ...]:
    return tuple(
        Row(setting=name, value=_value(sourced.settings, name), origin=origin.kind, place=origin.place)
        for name in Settings.model_fields
        for origin in (sourced.origin(name),)
    )


def as_json(sourced: Sourced) -> str:
    return TypeAdapter(tuple[Row, ...]).dump_json(rows(sourced), indent=2).decode()


def table(sourced: Sourced) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("SETTING", "VALUE", "ORIGIN"):
        shown.add_column(column, overflow="fold")
    for row in rows(sourced):
        shown.add_row(row.setting, _written(row), str(sourced.origin(row.setting)))
    return shown


def _value(settings: Settings, name: str) -> Value:
    value: object = getattr(settings, name)
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # JSON has no number for it
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if is_secret(name):
        return tuple(HIDDEN for _ in value) if isinstance(value, tuple) else HIDDEN
    if isinstance(value, tuple):
        return tuple(without_password(str(item)) for item in value)
    return without_password(str(value))


def _written(row: Row) -> str:
    """As it could be written in the environment, but for secrets."""
    value = row.value
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"{HIDDEN} ({len(value)})" if value and is_secret(row.setting) else ",".join(value) or "empty"
    if isinstance(value, int) and value >= MIB:  # no setting but a size is that large
        return f"{value / MIB:g}MiB"
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
