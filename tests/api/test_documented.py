"""What clients can send, get and scrape is in `docs/api.md`, and nothing else is."""

import re
from pathlib import Path

from service.api.forms import TranscriptionForm
from service.api.plan import BudgetBody, ChosenBody, ExcludedBody, LimitBody, NearestBody, PlanBody
from service.metrics import Metrics
from tests.api.test_errors import CASES, failure_of

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_fields_are_those_of_the_page() -> None:
    table = PAGE.partition("| field |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(TranscriptionForm.model_fields)


def test_error_codes_are_on_the_page_with_their_status() -> None:
    for error, *_ in CASES:
        failure = failure_of(error)
        if failure.detail.code is not None:
            assert f"| {failure.status} | `{failure.detail.code}` |" in PAGE


def test_plan_is_that_of_the_page() -> None:
    section = PAGE.partition("## `GET /v1/plan`")[2].partition("\n## ")[0]
    bodies = (PlanBody, BudgetBody, LimitBody, ChosenBody, ExcludedBody, NearestBody)
    fields = {name for body in bodies for name in body.model_fields}
    assert not [name for name in fields if f"`{name}`" not in section]


def test_metrics_are_those_of_the_page() -> None:
    exported = set(re.findall(r"^# TYPE (wren_\w+)", Metrics().render().decode(), re.MULTILINE))
    first_cells = re.findall(r"^\| (`wren_[^|]+)\|", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", "".join(first_cells))) == exported
