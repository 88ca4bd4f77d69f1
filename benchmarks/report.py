"""Figures in; a table for people and one last line of JSON for machines out, with what they were measured on."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.speech import Utterance
from model_store.evaluate import datasets
from service.engine.device import read_device
from service.engine.gpu import read_gpus

WIDTH = 160
"""Columns where the output is no terminal."""

PACKAGES = ("onnxruntime", "numpy", "av", "soxr", "jiwer", "whisper-normalizer")

EXTRAS = ("torch", "openvino")

ROOT = Path(__file__).parents[1]

Cell = str | float | int | None

T = TypeVar("T")


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """A table: the first column is a name, the others are figures."""
    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_written(cell) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False)
    console.print(title)
    console.print(table)
    console.print()


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def progress(items: Sequence[T], what: str) -> Iterable[T]:
    """The items, with a bar on standard error where that is a terminal."""
    return track(items, what, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def record(benchmark: str, utterances: Sequence[Utterance] = (), **found: object) -> None:
    """The last line: the figures, with hardware, versions, commit and data."""
    about = {"benchmark": benchmark, "hardware": hardware(), "versions": versions(), "commit": commit()}
    print(json.dumps(_rounded({**about, "data": data(utterances), **found}), ensure_ascii=False))


def _rounded(value: object) -> object:
    """Three decimals are more than any figure here deserves."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


def hardware() -> dict[str, object]:
    device = read_device()
    load = [round(one, 2) for one in os.getloadavg()]
    gpus = read_gpus(os.environ.get("WREN_DEVICE", "auto"))
    cards = {"gpus": [gpu.name for gpu in gpus.gpus], "driver": gpus.driver}
    return {"cpu": device.cpu, "cores": device.cores, "features": device.features, "load_average": load, **cards}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    for name in EXTRAS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit() -> str:
    """Of what is measured; a plus sign says that files differ from it."""
    named = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(named, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def data(utterances: Sequence[Utterance]) -> dict[str, object]:
    """How much of each set, and a digest of the references: the same digest, the same test."""
    sets = {u.set_name: [0, 0.0] for u in utterances}
    for u in utterances:
        sets[u.set_name][0] += 1
        sets[u.set_name][1] += u.duration_s
    counts = {name: {"files": count, "minutes": round(spent / 60, 2)} for name, (count, spent) in sets.items()}
    return {"sets": counts, "sha256": datasets.digest(utterances)[:16]}
