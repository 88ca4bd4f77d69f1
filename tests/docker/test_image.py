"""What can be told of the image without an engine; `docker/check.sh` tries the real one."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
STAGES = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_every_image_is_made_of_the_one_that_is_hardened() -> None:
    assert re.findall(r"^FROM served AS (\S+)$", DOCKERFILE, re.MULTILINE) == ["gpu", "cpu"]
    assert list(STAGES)[-1] == "cpu", "what is built by default is the last"


def test_the_image_runs_as_nobody_that_owns_anything() -> None:
    users = {stage: re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE) for stage, text in STAGES.items()}
    (user,) = users["served"]
    assert int(user) > 0
    assert not users["gpu"] + users["cpu"]


@pytest.mark.parametrize(
    "instruction", ["HEALTHCHECK", "STOPSIGNAL SIGTERM", 'VOLUME ["/models", "/tmp"]', "ENTRYPOINT ["]
)
def test_the_image_says_how_it_is_run(instruction: str) -> None:
    assert f"\n{instruction}" in STAGES["served"]


def test_torch_is_in_the_image_for_gpus_alone() -> None:
    assert "--from=torch" in STAGES["gpu"]
    assert not [stage for stage in ("served", "cpu", "build", "models") if "torch" in STAGES[stage]]


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
