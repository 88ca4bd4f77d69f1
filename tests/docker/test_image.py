"""What can be told of the image without an engine; `docker/check.sh` tries the real one."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_the_image_runs_as_nobody_that_owns_anything() -> None:
    final = DOCKERFILE.split("FROM ")[-1]
    user = re.search(r"^USER (\d+):\d+$", final, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0


@pytest.mark.parametrize(
    "instruction", ["HEALTHCHECK", "STOPSIGNAL SIGTERM", 'VOLUME ["/models", "/tmp"]', "ENTRYPOINT ["]
)
def test_the_image_says_how_it_is_run(instruction: str) -> None:
    assert f"\n{instruction}" in DOCKERFILE.split("FROM ")[-1]


def test_what_the_build_copies_is_there_and_sent_to_it() -> None:
    sent = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    ]
    assert set(copied) == set(sent)
    assert all(list(ROOT.glob(name)) for name in copied)


def test_the_container_has_no_rights_and_writes_to_its_volumes_alone() -> None:
    service = COMPOSE["services"]["wren"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert {volume.split(":")[1] for volume in service["volumes"]} == {"/models", "/tmp"}


def test_the_settings_in_there_exist() -> None:
    names = {name.removeprefix(PREFIX).lower() for name in COMPOSE["services"]["wren"]["environment"]}
    names |= {name.lower() for name in re.findall(rf"\b{PREFIX}([A-Z_]+)=", DOCKERFILE)}
    assert names <= set(Settings.model_fields)


def test_a_wheel_holds_every_file_that_the_checkout_has() -> None:
    """Else what is installed cannot do what a checkout can."""

    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    for package in ("service", "model_store"):
        files = {path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        known = {path for pattern in packaged[package] for path in (ROOT / package).glob(pattern)}
        assert {path for path in files - known if path.suffix != ".py"} == set()
