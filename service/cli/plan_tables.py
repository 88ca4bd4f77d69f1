"""A plan in, tables for a terminal out: the budget, what fits, and what does not."""

import math

from rich.table import Table

from service.cli.model_tables import show as show_table
from service.engine.device import Limit
from service.engine.plan import UTTERANCE_S, Budget, Candidate, Plan, Planned
from service.units import shown_size


def show(plan: Plan) -> None:
    show_table(budget(plan.budget))
    if plan.chosen:
        show_table(chosen(plan))
    if plan.excluded:
        show_table(excluded(plan))


def budget(limits: Budget) -> Table:
    """Each limit with its origin."""
    table = _columns("BUDGET", "", "")
    rows: tuple[tuple[str, Limit, str], ...] = (
        ("memory", limits.memory, shown_size(_finite(limits.memory), to=math.floor)),
        ("cores", limits.cores, f"{limits.cores.amount:g}"),
        ("GPU memory", limits.gpu_memory, shown_size(limits.gpu_memory.amount)),
        ("latency", limits.latency, f"{limits.latency.amount:g} ms for {UTTERANCE_S:g} s of speech"),
        ("WER lost", limits.wer_loss, f"{limits.wer_loss.amount:g} points"),
    )
    for name, limit, shown in rows:
        table.add_row(name, "any" if math.isinf(limit.amount) else shown, limit.reason)
    table.add_row("prefer", limits.prefer, "")
    return table


def chosen(plan: Plan) -> Table:
    table = _columns("", "FITS", "MEMORY", "LATENCY", "SPEED", "WER", "LOSS", "BECAUSE")
    for place, one in enumerate(plan.chosen, start=1):
        table.add_row(str(place), one.name, *_costs(one), *_wer(one.candidate), one.reason)
    return table


def excluded(plan: Plan) -> Table:
    table = _columns("DOES NOT FIT", "WER", "LOSS", "BECAUSE")
    for one in plan.excluded:
        table.add_row(one.name, *_wer(one.candidate), "; ".join(fault.reason for fault in one.faults))
    return table


def _costs(one: Planned) -> tuple[str, str, str]:
    memory = shown_size(one.memory_bytes) + (f" + {shown_size(one.gpu_bytes)} GPU" if one.gpu_bytes else "")
    return memory, f"{one.costs.latency_ms:.0f} ms", f"{one.speed:.0f}x"


def _wer(one: Candidate) -> tuple[str, str]:
    wer = "" if one.wer is None else f"{one.wer:.2f} %"
    return wer, "unknown" if one.wer_loss is None else f"{one.wer_loss:+.2f}"


def _finite(limit: Limit) -> float:
    return 0.0 if math.isinf(limit.amount) else limit.amount


def _columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table
