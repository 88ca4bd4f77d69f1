"""A comparison in, one self-contained HTML page out: no network, no other file, a script only for sorting.

Names and the like come from manifests, which may be anybody's: the templates escape all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from model_store.comparison.charts import Chart, charts, key
from model_store.comparison.columns import Column, columns
from model_store.comparison.rows import Comparison, Group
from model_store.manifest import Evaluation

TEMPLATE = "page.html"


@dataclass(frozen=True, slots=True)
class Section:
    """What the page says of a group."""

    key: str
    title: str
    group: Group
    columns: tuple[Column, ...]
    charts: tuple[Chart, ...]


def render(comparison: Comparison, *, made: datetime, machine: str | None = None) -> str:
    """The page.

    Args:
        comparison: what it shows.
        made: now.
        machine: where "here" is, if there are such figures.
    """
    environment = Environment(
        loader=PackageLoader("model_store.comparison"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    compared = _compared(comparison)
    return environment.get_template(TEMPLATE).render(
        sections=[_section(group) for group in comparison.groups],
        example=comparison.example,
        versions=sorted({f"{name} {number}" for one in compared for name, number in one.versions.items()}),
        days=sorted({f"{one.date:%Y-%m-%d}" for one in compared}),
        made=made,
        machine=machine,
    )


def _section(group: Group) -> Section:
    return Section(key(group), group.model or "All models", group, columns(group.rows), charts(group))


def _compared(comparison: Comparison) -> Sequence[Evaluation]:
    return [one for group in comparison.groups for _, one in group.compared]
