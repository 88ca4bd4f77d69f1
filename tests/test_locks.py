"""What is installed is pinned, whole, and has what the project asks for."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = tuple(f"requirements{kind}.lock" for kind in ("", "-otel", "-postgres", "-dev", "-cuda", "-audit"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> list[str]:
    return [line for line in (ROOT / lock).read_text().splitlines() if not line.startswith("#")]


def names(lock: str) -> set[str]:
    return {canonical(re.split("=+", pin)[0]) for pin in pins(lock)}


def asked(requirements: list[str]) -> set[str]:
    return {canonical(re.split(r"[\[<>=~ ;]", one)[0]) for one in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_one_version(lock: str) -> None:
    assert [pin for pin in pins(lock) if not re.fullmatch(r"[\w.-]+={2,3}[\w.+!-]+", pin)] == []
    assert len(names(lock)) == len(pins(lock))


def test_what_the_project_needs_is_pinned() -> None:
    assert asked(PROJECT["dependencies"]) <= names("requirements.lock")


def test_what_the_tests_need_is_pinned() -> None:
    assert asked(PROJECT["optional-dependencies"]["dev"]) <= names("requirements.lock") | names("requirements-dev.lock")


@pytest.mark.parametrize("extra", ["otel", "postgres"])
def test_what_an_extra_needs_is_pinned(extra: str) -> None:
    assert asked(PROJECT["optional-dependencies"][extra]) <= names(f"requirements-{extra}.lock")
    assert not names(f"requirements-{extra}.lock") & names("requirements.lock")


def test_nothing_is_pinned_twice() -> None:
    assert names("requirements.lock") & names("requirements-dev.lock") == set()


def test_tools_of_the_audit_are_pinned() -> None:
    assert names("requirements-audit.lock") >= {"cyclonedx-bom", "pip-audit"}
