"""`wren config show`, and how `wren serve` takes its settings: processes of their own."""

import json
import socket
from pathlib import Path

import pytest

from tests.cli.running import wren

SECRET = "hush-1234"


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "wren.toml"
    path.write_text(f'memory = "512MiB"\nladder = ["fp32", "int8"]\napi_keys = ["{SECRET}", "b"]\nmax_streams = 3\n')
    return path


def test_every_setting_is_shown_with_its_origin(toml: Path) -> None:
    done = wren("--config", toml, "config", "show", env={"WREN_MAX_STREAMS": "7"})
    lines = {line.split()[0]: line.strip().split(maxsplit=2)[1:] for line in done.stdout.splitlines()}
    assert (done.returncode, done.stderr) == (0, "")
    assert lines["memory"] == ["512MiB", f"wren.toml ({toml})"]
    assert lines["ladder"] == ["fp32,int8", f"wren.toml ({toml})"]
    assert lines["max_streams"] == ["7", "environment (WREN_MAX_STREAMS)"]
    assert lines["port"] == ["8000", "default"]


def test_secrets_are_counted_and_not_shown(toml: Path) -> None:
    table = wren("config", "show", "--config", toml)
    as_json = wren("config", "show", "--json", env={"WREN_CONFIG": str(toml), "WREN_MAX_WER_LOSS": "inf"})
    assert "*** (2)" in table.stdout
    assert SECRET not in table.stdout + as_json.stdout
    shown = {row["setting"]: row for row in json.loads(as_json.stdout)}
    assert shown["api_keys"] == {
        "setting": "api_keys",
        "value": ["***", "***"],
        "origin": "wren.toml",
        "place": str(toml),
    }
    assert [shown[name]["value"] for name in ("memory", "threads", "max_wer_loss")] == [2**29, None, "inf"]


def test_it_fails_where_the_server_would(tmp_path: Path) -> None:
    path = tmp_path / "wren.toml"
    path.write_text("prot = 1")
    told = f"wren: prot in {path}: there is no such setting (did you mean port?)\n"
    for command in (("config", "show"), ("serve",)):
        done = wren(*command, "--config", path)
        assert (done.returncode, done.stderr) == (1, told)


def test_a_wrong_secret_is_not_shown() -> None:
    done = wren("serve", env={"WREN_API_KEYS_FILE": "/gone", "WREN_API_KEYS": SECRET, "WREN_THREADS": "0"})
    assert done.returncode == 1
    assert SECRET not in done.stderr
    assert done.stderr.count("\n") == 1


def test_serve_takes_any_setting_by_its_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = wren("serve", "--set", f"port={port}", "--set", "host=127.0.0.1", env={"WREN_PORT": "1"})
    assert done.stderr.startswith(f"wren: Cannot listen on 127.0.0.1 port {port}")


def test_a_variable_that_means_nothing_is_warned_of() -> None:
    done = wren("config", "show", env={"WREN_MODLE": "x"})
    assert done.returncode == 0
    assert done.stderr == (
        "wren: WREN_MODLE in the environment is ignored: there is no such setting (did you mean WREN_MODEL?)\n"
    )
