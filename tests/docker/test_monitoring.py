"""What watches Wren asks for what it tells: every metric and label that alerts and dashboard name is there."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import Expr, VectorSelector

from service.engine.fake import FakeEngine
from service.metrics import Metrics

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "docker" / "monitoring"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
ALERTS = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "wren.json").read_text(encoding="utf-8"))

PROMETHEUS_OWN = {"up", "ALERTS"}
TARGET_LABELS = {"job", "instance", "service", "alertstate", "alertname"}
"""Given by Prometheus, to its own series and by `relabel_configs`."""


def _exported() -> dict[str, set[str]]:
    """Every series that a server can have, with the names of its labels; families without a series yet have any."""
    metrics = Metrics()
    metrics.watch(FakeEngine())
    metrics.count_request(route="/v1/models", status=200, total_s=0.01)
    metrics.count_audio(variant="fake:fp32", duration_s=3, total_s=1)
    metrics.observe_stages({"queue": 1})
    metrics.sketched(lag_s=0.1)
    metrics.jobs_counted(queued=0, running=0)
    known: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        known.setdefault(family.name, set())
        for sample in family.samples:
            known.setdefault(sample.name, set()).update(sample.labels)
    return known


EXPORTED = _exported()
LABELLED_LATER = {"model", "variant"}
"""The fake engine has no variants in memory, so their gauges have no series there."""


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$service", ".*")
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"].replace("$service", ".*")


EXPRESSIONS = list(_expressions())


def _selectors(expression: Expr) -> Iterator[VectorSelector]:
    if isinstance(expression, VectorSelector):
        yield expression
    for part in ("expr", "lhs", "rhs", "vector_selector"):
        if (inner := getattr(expression, part, None)) is not None:
            yield from _selectors(inner)
    arguments = getattr(expression, "args", None)
    for inner in arguments or ():
        yield from _selectors(inner)


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_expression_asks_for_what_there_is(where: str, expression: str) -> None:
    selectors = list(_selectors(promql_parser.parse(expression)))
    assert selectors or "vector(" in expression
    named = set(re.findall(r"\b(?:wren|process)_\w+", expression))
    assert named == {selector.name for selector in selectors} - PROMETHEUS_OWN
    for selector in selectors:
        if selector.name in PROMETHEUS_OWN:
            continue
        assert selector.name in EXPORTED, where
        labels = {matcher.name for matcher in selector.matchers.matchers} - TARGET_LABELS - LABELLED_LATER
        assert labels <= EXPORTED[selector.name], where


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["action"].endswith(".")
    assert "for" in rule or re.search(r"\[\d+[mh]\]", str(rule["expr"])), "one moment is no reason to call somebody"


def test_dashboard_lays_its_panels_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_dashboard_asks_the_source_that_is_provisioned() -> None:
    provisioning = MONITORING / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "wren.yml").read_text())["providers"]
    mounted = [volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted


def test_prometheus_scrapes_the_services_that_there_are() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (scraped,) = config["scrape_configs"]
    assert scraped["job_name"] == "wren"
    (found,) = scraped["dns_sd_configs"]
    assert set(found["names"]) == {name for name in COMPOSE["services"] if name.startswith("wren")}
    assert all((MONITORING / name).is_file() for name in config["rule_files"])


def test_what_compose_mounts_is_there() -> None:
    for service in COMPOSE["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["memswap_limit"] == service["mem_limit"]
    assert all("127.0.0.1:" in port for port in service["ports"])


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_what_watches_is_asked_for_and_pinned(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["profiles"] == ["monitoring"]
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])


def test_grafana_lets_nobody_in_without_a_password_of_the_operator() -> None:
    grafana = COMPOSE["services"]["grafana"]
    assert grafana["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in grafana["environment"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"].startswith("/run/secrets/")
    assert set(grafana["secrets"]) <= set(COMPOSE["secrets"])


def test_keys_come_as_the_secret_that_wren_looks_for() -> None:
    keys = yaml.safe_load((ROOT / "docker" / "compose.keys.yml").read_text())
    assert set(keys["services"]) == {name for name in COMPOSE["services"] if name.startswith("wren")}
    assert all(service["secrets"] == ["wren_api_keys"] for service in keys["services"].values())
    assert set(keys["secrets"]) == {"wren_api_keys"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here (Debian has it in prometheus)")
def test_prometheus_takes_its_configuration() -> None:
    done = subprocess.run(
        ["promtool", "check", "config", MONITORING / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
