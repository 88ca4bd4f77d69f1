import pytest

from service import __version__
from tests.cli.running import wren


def test_version_is_the_packages() -> None:
    done = wren("version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


def test_help_names_every_command() -> None:
    done = wren("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("serve", "transcribe", "plan", "doctor", "models", "version"))


@pytest.mark.parametrize("command", ["serve", "transcribe", "plan", "doctor", "models"])
def test_each_command_explains_itself(command: str) -> None:
    assert wren(command, "--help").returncode == 0


def test_wrong_option_is_a_usage_error() -> None:
    done = wren("serve", "--prot", "80")
    assert done.returncode == 2
    assert "--prot" in done.stderr


def test_wrong_setting_is_one_line_that_names_it() -> None:
    done = wren("serve", env={"WREN_PORT": "eighty"})
    assert done.returncode == 1
    assert done.stderr.startswith("wren: WREN_PORT in the environment: 'eighty' is wrong: write a whole number")
    assert done.stderr.count("\n") == 1
