import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from service.cli.serve import first_request, listen
from service.settings import Settings
from tests.cli.running import wren

SAMPLE = Path("some folder/sample.wav")


def test_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = wren("serve", "--host", "127.0.0.1", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.startswith(f"wren: Cannot listen on 127.0.0.1 port {port}: Address already in use.")
    assert done.stderr.count("\n") == 1


def test_foreign_address_is_one_clear_line() -> None:
    done = wren("serve", "--host", "192.0.2.1", "--port", "0")
    assert done.returncode == 1
    assert "192.0.2.1" in done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_is_let_in_before_the_server_is_ready() -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname()).close()


def test_taken_port_ends_the_command() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(typer.Exit):
        listen("127.0.0.1", other.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("speech.example", "http://speech.example:8000"),
    ],
)
def test_first_request_goes_where_the_server_listens(host: str, address: str) -> None:
    line = first_request(Settings(host=host), SAMPLE, port=8000)
    assert line == f"curl -F file=@'some folder/sample.wav' -F model=auto {address}/v1/audio/transcriptions"


def test_first_request_carries_a_key_where_one_is_needed() -> None:
    line = first_request(Settings(api_keys="secret"), SAMPLE, port=8000)  # type: ignore[arg-type]
    assert "-H 'Authorization: Bearer KEY'" in line
    assert "secret" not in line


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize(("hard", "wanted", "allowed"), [(900, 600, 600), (500, 600, 500), (900, 100, 256)])
def test_files_may_be_open_as_far_as_the_system_lets(hard: int, wanted: int, allowed: int) -> None:
    code = (
        "import resource; from service.cli.server import allow_open_files;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard})); allow_open_files({wanted});"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == allowed
