"""Rows in, cells with what they are sorted by out. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.filesize import decimal

from model_store.comparison.rows import Row
from model_store.manifest import Evaluation

MISSING = "–"


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and what it is sorted by; `key` is None where there is nothing to show."""

    text: str
    key: float | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `note` explains its heading, `text` says that it does not hold numbers."""

    title: str
    cell: Callable[[Row], Cell]
    note: str = ""
    text: bool = False


NOTHING = Cell(MISSING, None)


def columns(rows: Iterable[Row]) -> tuple[Column, ...]:
    """Those that have something to show."""
    rows = list(rows)
    return tuple(one for one in COLUMNS if any(one.cell(row).key is not None for row in rows))


def _text(value: Callable[[Row], str]) -> Callable[[Row], Cell]:
    return lambda row: Cell(value(row), value(row))


def _figure(value: Callable[[Row], float | None], shown: Callable[[float], str]) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        figure = value(row)
        return NOTHING if figure is None else Cell(shown(figure), figure)

    return cell


def _seen(value: Callable[[Evaluation], float | None], shown: Callable[[float], str]) -> Callable[[Row], Cell]:
    """A figure of the evaluation."""
    return _figure(lambda row: value(row.evaluation) if row.evaluation else None, shown)


def _interval(row: Row) -> Cell:
    one = row.evaluation
    return Cell(f"{one.wer_low:.2f} to {one.wer_high:.2f}", one.wer_low) if one else NOTHING


def _made_by(row: Row) -> str:
    made = row.manifest
    return f"{made.recipe} of {made.parent}" if made.parent else made.recipe


def _energy(one: Evaluation) -> float | None:
    return 60 * one.energy_j / one.audio_s if one.energy_j is not None and one.audio_s else None


def _device(row: Row) -> Cell:
    one = row.evaluation
    return Cell(one.device, one.device) if one else NOTHING


def _date(row: Row) -> Cell:
    one = row.evaluation
    return Cell(f"{one.date:%Y-%m-%d}", one.date.isoformat()) if one else NOTHING


def _size(amount: float) -> str:
    return decimal(round(amount))


def _ms(amount: float) -> str:
    return f"{amount:,.0f} ms"


def _percent(amount: float) -> str:
    return f"{amount:.2f}"


def _times(amount: float) -> str:
    return f"{amount:.1f}x"


COLUMNS = (
    Column("Standing", _text(lambda row: row.standing), "in bytes, WER and speed together", text=True),
    Column("Size", _figure(lambda row: row.manifest.total_bytes, _size), "of all files"),
    Column("Of base", _figure(lambda row: row.share, lambda share: f"{share:.0%}"), "share of the base variant's size"),
    Column("WER %", _seen(lambda one: one.wer, _percent), "errors in a hundred words"),
    Column("95 %", _interval, "bootstrap interval of the WER"),
    Column("Over parent", _figure(lambda row: row.growth, lambda points: f"{points:+.2f}"), "points of WER"),
    Column("CER %", _seen(lambda one: one.cer, _percent), "errors in a hundred characters"),
    Column("Speed", _seen(lambda one: one.speed, _times), "seconds of audio a second"),
    Column("Latency p50", _seen(lambda one: one.latency_p50_ms, _ms), "median of a recording"),
    Column("Latency p95", _seen(lambda one: one.latency_p95_ms, _ms), "of a recording"),
    Column("Load", _seen(lambda one: one.load_ms, _ms), "to load and warm up"),
    Column("Peak memory", _seen(lambda one: one.peak_bytes, _size), "of the process"),
    Column(
        "Energy",
        _seen(_energy, lambda joules: f"{joules:.1f} J"),
        "of the processor, a minute of audio",
    ),
    Column(
        "Memory here",
        _figure(lambda row: row.here.memory_bytes if row.here else None, _size),
        "as profiled on this machine",
    ),
    Column(
        "Latency here",
        _figure(lambda row: row.here.latency_ms if row.here else None, _ms),
        "six seconds of speech, on this machine",
    ),
    Column(
        "Speed here",
        _figure(lambda row: row.here.speed if row.here else None, _times),
        "all cores busy, on this machine",
    ),
    Column("Made by", _text(_made_by), "recipe and parent", text=True),
    Column("Precision", _text(lambda row: row.manifest.precision), text=True),
    Column("Runtime", _text(lambda row: row.manifest.runtime), text=True),
    Column("Version", _figure(lambda row: row.manifest.version, lambda number: f"{number:.0f}"), "build in this store"),
    Column("Evaluated", _date, text=True),
    Column("Device", _device, text=True),
)
