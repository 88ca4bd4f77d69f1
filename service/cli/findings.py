"""What `wren doctor` found: the words of its report, and the report itself as a table or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

State = Literal["ok", "warn", "fail"]

_COLOURS: dict[State, str] = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One point looked at. `advice` says what to do and is never missing where something is wrong."""

    point: str
    state: State
    detail: str
    advice: str = ""

    def __post_init__(self) -> None:
        if self.state != "ok" and not self.advice:
            raise ValueError(f"{self.point}: {self.detail}: what is to be done?")


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether Wren can do its work; warnings do not keep it from it."""
    return all(finding.state != "fail" for finding in findings)


def as_json(findings: Sequence[Finding]) -> str:
    report = {"ok": healthy(findings), "findings": [asdict(finding) for finding in findings]}
    return json.dumps(report, ensure_ascii=False, indent=2)


def show(findings: Sequence[Finding], console: Console) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        told = finding.detail + (f"\n-> {finding.advice}" if finding.advice else "")
        table.add_row(Text(finding.state, style=_COLOURS[finding.state]), Text(finding.point), Text(told))
    console.print(table)
