"""Evaluations in; tables for a terminal, or JSON, out."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.filesize import decimal
from rich.table import Table

from model_store.evaluate.bootstrap import Growth, growth
from model_store.evaluate.errors import NotComparable
from model_store.evaluate.scoring import Scored
from model_store.evaluate.summary import by_set
from model_store.manifest import Evaluation


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A variant with what was found of it.

    Attributes:
        parent: the name of the variant that it was made from, None if there is none or it is not known.
        size_bytes: of its files.
        hypotheses: where they are kept.
    """

    name: str
    parent: str | None
    size_bytes: int
    evaluation: Evaluation
    scored: tuple[Scored, ...]
    hypotheses: Path


def figures(rows: Sequence[Evaluated]) -> Table:
    """A row a variant."""
    table = _columns("VARIANT", "SIZE", "WER %", "95 %", "OVER PARENT", "SUB", "DEL", "INS", "CER %")
    for name in ("SPEED", "TOKENS/S", "P50 MS", "P95 MS", "LOAD MS", "PEAK", "ENERGY"):
        table.add_column(name, justify="right")
    for row in rows:
        one = row.evaluation
        table.add_row(
            row.name,
            decimal(row.size_bytes),
            f"{one.wer:.2f}",
            f"{one.wer_low:.2f} to {one.wer_high:.2f}",
            _over(grown(row, rows)),
            *(str(count) for count in (one.substitutions, one.deletions, one.insertions)),
            f"{one.cer:.2f}",
            f"{one.speed:.1f}x",
            *(f"{figure:.0f}" for figure in (one.tokens_per_s, one.latency_p50_ms, one.latency_p95_ms, one.load_ms)),
            decimal(one.peak_bytes),
            "" if one.energy_j is None else f"{one.energy_j:.0f} J",
        )
    return table


def sets(rows: Sequence[Evaluated]) -> Table:
    """The WER of each set, a column a variant."""
    table = _columns("WER %", *(row.name for row in rows))
    found = [by_set(row.scored) for row in rows]
    for name in dict.fromkeys(name for one in found for name in one):
        table.add_row(name, *(f"{one[name]:.2f}" if name in one else "" for one in found))
    return table


def several_sets(rows: Sequence[Evaluated]) -> bool:
    return any("+" in row.evaluation.data for row in rows)


def as_json(rows: Sequence[Evaluated]) -> str:
    return json.dumps([_record(row, rows) for row in rows], indent=2)


def grown(row: Evaluated, rows: Sequence[Evaluated]) -> Growth | None:
    """By how much a variant is over its parent, where that is among the rows and heard the same recordings."""
    parent = next((one for one in rows if one.name == row.parent), None)
    try:
        return growth(row.scored, parent.scored) if parent else None
    except NotComparable:
        return None


def _record(row: Evaluated, rows: Sequence[Evaluated]) -> dict[str, object]:
    over = grown(row, rows)
    return {
        "variant": row.name,
        "size_bytes": row.size_bytes,
        "hypotheses": str(row.hypotheses),
        "over_parent": asdict(over) if over else None,
        "wer_by_set": by_set(row.scored),
        "evaluation": row.evaluation.model_dump(mode="json"),
    }


def _over(over: Growth | None) -> str:
    return f"{over.points:+.2f} ({over.low:+.2f} to {over.high:+.2f})" if over else ""


def _columns(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", overflow="fold")
    return table
