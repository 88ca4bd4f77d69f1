from pathlib import Path

from typer.testing import CliRunner

from service.api.keyring import Keyring
from service.api.quota import Limits
from service.cli.main import app


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["keys", *arguments])
    return done.exit_code, done.output


def test_a_new_key_is_told_once_and_lets_in_until_it_is_removed(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.toml")
    code, output = run("new", "phone", "--file", file)
    key = output.strip()
    assert (code, key[:5]) == (0, "wren_")
    assert key not in Path(file).read_text()
    keyring = Keyring(file=Path(file))
    found = keyring.find(key)
    assert found is not None
    assert (found.name, sorted(found.scopes)) == ("phone", ["transcribe"])
    assert run("new", "ops", "--scope", "admin", "--file", file)[0] == 0
    assert run("list", "--file", file) == (0, "phone\ttranscribe\nops\tadmin\n")
    assert run("remove", "phone", "--file", file)[0] == 0
    assert keyring.find(key) is None


def test_a_new_key_has_the_limits_that_it_is_given_and_no_others(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.toml")
    limits = ["--requests-per-minute", "60", "--audio-seconds-per-minute", "90.5", "--concurrency", "2"]
    key = run("new", "phone", *limits, "--file", file)[1].strip()
    run("new", "ops", "--concurrency", "3", "--file", file)
    found = Keyring(file=Path(file)).find(key)
    assert found is not None
    assert found.limits == Limits(60, 90.5, 2)
    told = "requests_per_minute=60\taudio_seconds_per_minute=90.5\tconcurrency=2"
    assert run("list", "--file", file)[1] == f"phone\ttranscribe\t{told}\nops\ttranscribe\tconcurrency=3\n"
    assert run("new", "a", "--concurrency", "0", "--file", file)[0] == 2


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.toml")
    assert run("new", "a b", "--file", file)[0] == 1
    assert run("new", "a", "--scope", "all", "--file", file)[0] == 1
    assert run("new", "a", "--file", file)[0] == 0
    assert run("new", "a", "--file", file)[0] == 1
    assert run("remove", "b", "--file", file)[0] == 1
    assert run("list", "--file", str(tmp_path / "gone"))[0] == 1
