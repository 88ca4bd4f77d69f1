"""What clients can send, get and scrape is in `docs/api.md`, and nothing else is."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from service.api.admin import OrdersForm
from service.api.forms import TranscriptionForm
from service.api.jobs import JobBody, JobForm, JobList, ProgressBody, WebhookBody
from service.api.models import ModelBody
from service.api.plan import BudgetBody, ChosenBody, ExcludedBody, LimitBody, NearestBody, PlanBody
from service.api.precision import EventBody, FillBody, GovernedBody, LeftOutBody, PrecisionBody, RungBody, SignalsBody
from service.engine.precision import Cause
from service.engine.types import Happening, State
from service.engine.wishes import INSTEAD
from service.jobs.types import End, HookState
from service.jobs.types import State as JobState
from service.metrics import Metrics
from tests.api.test_errors import CASES, failure_of

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"## `{title}")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "form"), [("POST /v1/audio/transcriptions", TranscriptionForm), ("PUT /v1/precision", OrdersForm)]
)
def test_fields_are_those_of_the_page(title: str, form: type[BaseModel]) -> None:
    table = section(title).partition("| field |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(form.model_fields)


def test_wishes_are_granted_in_the_order_of_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`\w+`(?:, `\w+`)+) \|$", PAGE, re.MULTILINE)
    assert {wish: tuple(re.findall(r"\w+", others)) for wish, others in rows} == INSTEAD


def test_error_codes_are_on_the_page_with_their_status() -> None:
    for error, *_ in CASES:
        failure = failure_of(error)
        if failure.detail.code is not None:
            assert f"| {failure.status} | `{failure.detail.code}` |" in PAGE


@pytest.mark.parametrize(
    ("title", "bodies"),
    [
        ("GET /v1/plan", (PlanBody, BudgetBody, LimitBody, ChosenBody, ExcludedBody, NearestBody)),
        (
            "GET /v1/precision",
            (PrecisionBody, GovernedBody, RungBody, LeftOutBody, SignalsBody, FillBody, EventBody),
        ),
    ],
)
def test_answer_is_that_of_the_page(title: str, bodies: tuple[type[BaseModel], ...]) -> None:
    fields = {name for body in bodies for name in body.model_fields}
    assert not [name for name in fields if f"`{name}`" not in section(title)]


def test_a_job_is_that_of_the_page() -> None:
    page = section("POST /v1/jobs")
    own = JobForm.model_fields.keys() - TranscriptionForm.model_fields.keys()
    fields = {name for body in (JobBody, ProgressBody, WebhookBody, JobList) for name in body.model_fields} - {"data"}
    named = (*own, *fields, *get_args(JobState)[:2], *get_args(End), *get_args(HookState))
    assert not [name for name in named if f"`{name}`" not in page]


def test_model_is_that_of_the_page() -> None:
    own = ModelBody.model_fields.keys() - {"id", "object", "created", "owned_by"}
    assert not [name for name in (*own, *get_args(State)) if f"`{name}`" not in section("GET /v1/models")]


def test_causes_and_events_are_those_of_the_page() -> None:
    named = (*get_args(Cause), *get_args(Happening))
    assert not [name for name in named if f"`{name}`" not in section("GET /v1/precision")]


def test_metrics_are_those_of_the_page() -> None:
    exported = set(re.findall(r"^# TYPE (wren_\w+)", Metrics().render().decode(), re.MULTILINE))
    first_cells = re.findall(r"^\| (`wren_[^|]+)\|", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", "".join(first_cells))) == exported
