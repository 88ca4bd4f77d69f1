"""`GET /v1/precision` in, tables for a terminal out."""

from collections.abc import Sequence

from rich.table import Table

from service.api.precision import EventBody, GovernedBody, PrecisionBody
from service.units import shown_size

SHOWN_EVENTS = 20


def governed(one: GovernedBody) -> Table:
    """What serves a model, and the orders in force."""
    table = _columns("MODEL", "SERVES", "SINCE", "ORDERS", "BECAUSE")
    orders = (("pin", one.pin), ("highest", one.highest), ("lowest", one.lowest))
    shown = ", ".join(f"{order} {name}" for order, name in orders if name) or "none"
    coming = f" (loading {one.switching_to})" if one.switching_to else ""
    table.add_row(one.model, one.serving + coming, f"{one.since:%Y-%m-%d %H:%M:%S}", shown, one.reason)
    return table


def rungs(one: GovernedBody) -> Table:
    """Those that may serve it, the best first, then those that may not."""
    table = _columns("", "RUNG", "MEMORY", "LATENCY", "SPEED", "LOSS", "BECAUSE")
    for rung in one.rungs:
        table.add_row(
            "*" if rung.id == one.serving else "",
            rung.id,
            "" if rung.memory_bytes is None else shown_size(rung.memory_bytes),
            "" if rung.latency_ms is None else f"{rung.latency_ms:.0f} ms",
            "" if rung.speed is None else f"{rung.speed:.0f}x",
            "" if rung.wer_loss is None else f"{rung.wer_loss:+.2f}",
            f"failed: {rung.failure}" if rung.failure else rung.reason,
        )
    for left in one.left_out:
        table.add_row("", left.id, "", "", "", "", f"left out: {left.reason}")
    return table


def signals(told: PrecisionBody) -> Table:
    """What the policy saw last, each with what it is held against."""
    seen, table = told.signals, _columns("SIGNAL", "NOW", "AGAINST")
    speed = "" if seen.speed is None else f"{seen.speed:.1f} s a second can be recognised"
    table.add_row("queue delay", f"{seen.queue_delay_ms:.0f} ms", f"an answer within {seen.target_ms:.0f} ms")
    table.add_row("audio that came", f"{seen.offered:.1f} s a second", speed)
    for fill in seen.memory:
        table.add_row(fill.name, shown_size(fill.used_bytes), shown_size(fill.limit_bytes))
    if not seen.memory:
        table.add_row("memory", shown_size(told.resident_bytes), "no limit")
    return table


def events(happened: Sequence[EventBody]) -> Table:
    """The last ones, the last first."""
    table = _columns("AT", "WHAT", "VARIANT", "TOOK", "MEMORY", "BECAUSE")
    for event in happened[:SHOWN_EVENTS]:
        sign = "-" if event.memory_bytes < 0 else "+"
        table.add_row(
            f"{event.at:%H:%M:%S}",
            event.kind,
            f"{event.variant} for {event.previous}" if event.previous else event.variant,
            f"{event.took_ms:.0f} ms",
            f"{sign}{shown_size(abs(event.memory_bytes))}" if event.memory_bytes else "",
            event.reason,
        )
    return table


def _columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table
