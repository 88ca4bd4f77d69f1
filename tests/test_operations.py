"""The operators' handbook names every setting, metric, error and close code, and nothing that there is not."""

import re
from pathlib import Path

import pytest
import yaml

from service.api.tracing import COUNTED
from service.metrics import Metrics
from service.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()

CODES = set(re.findall(r"^\| \d{3} \| `(\w+)` \|", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
"""That page has all there are, by a test of its own."""

EXPORTED = set(re.findall(r"^# TYPE (wren_\w+)", Metrics().render().decode(), re.MULTILINE))


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_handbook(name: str) -> None:
    assert f"`WREN_{name.upper()}`" in section("Settings")


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_every_metric_is_in_the_handbook(name: str) -> None:
    assert f"`{name}`" in section("What to watch")


def test_no_metric_is_in_it_that_there_is_not() -> None:
    assert set(re.findall(r"`(wren_\w+)`", section("What to watch"))) <= EXPORTED


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_error_is_in_the_handbook(code: str) -> None:
    assert f"`{code}`" in section("Errors")


def test_no_error_is_in_it_that_there_is_not() -> None:
    named = re.findall(r"^\| (`[^|]+)\|", section("Errors"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", "".join(named))) == CODES


def test_every_close_code_of_ours_is_in_the_handbook() -> None:
    of_clients = {1001, 1005, 1006}
    assert not [code for code in COUNTED - of_clients if str(code) not in section("Errors")]


def test_every_alert_is_in_the_handbook_and_no_other() -> None:
    groups = yaml.safe_load((ROOT / "docker" / "monitoring" / "alerts.yml").read_text())["groups"]
    named = re.findall(r"^\| `(\w+)` \|", section("Alerts"), re.MULTILINE)
    assert sorted(named) == sorted(rule["alert"] for group in groups for rule in group["rules"])


def test_what_it_links_to_is_there() -> None:
    for name, _, anchor in re.findall(r"\]\(([\w./-]+)(#([\w-]+))?\)", PAGE):
        path = ROOT / "docs" / name
        assert path.exists(), name
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in _titles(path)}
        assert not anchor or anchor in anchors, f"{name}#{anchor}"


def _titles(path: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
