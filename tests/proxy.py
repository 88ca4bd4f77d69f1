"""A real nginx with the configuration that is shipped, in front of servers on the loopback address."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.live import ROOT, free_port

NGINX = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
NO_NGINX = "nginx is not installed (on Debian and Ubuntu: apt install nginx-light)"
CONFIGURATION = ROOT / "docker" / "nginx.conf"
START_LIMIT_S = 10.0


@contextmanager
def nginx(folder: Path, ports: tuple[int, int]) -> Iterator[str]:
    """The address of a proxy for two servers; what it writes goes to `folder`.

    Raises:
        AssertionError: nginx is not there, or does not take the configuration; the message has its log.
    """
    assert NGINX, NO_NGINX
    port, log, written = free_port(), folder / "nginx.log", folder / "nginx.conf"
    written.write_text(configuration(folder, port=port, ports=ports))
    # One process, as whoever runs it: the workers of root would be somebody who may not read the folder.
    directives = f"daemon off; master_process off; pid {folder}/nginx.pid;"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [NGINX, "-p", str(folder), "-e", "stderr", "-c", str(written), "-g", directives],
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_there(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def configuration(folder: Path, *, port: int, ports: tuple[int, int]) -> str:
    """The one that is shipped, but for addresses and the folders of temporary files, which only root may write."""
    text = CONFIGURATION.read_text()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in kinds)
    changes = {
        "wren-1:8000": f"127.0.0.1:{ports[0]}",
        "wren-2:8000": f"127.0.0.1:{ports[1]}",
        "listen 8000;": f"listen 127.0.0.1:{port};",
        "http {": f"http {{\n{folders}",
    }
    for shipped, here in changes.items():
        assert text.count(shipped) == 1, f"{CONFIGURATION.name}: {shipped}"
        text = text.replace(shipped, here)
    return text


def _wait_until_there(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    while not _is_there(url):
        assert process.poll() is None, f"nginx ended:\n{log.read_text()}"
        assert time.monotonic() < deadline_s, f"nginx is not there:\n{log.read_text()}"
        time.sleep(0.05)


def _is_there(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live").is_success
    except httpx.TransportError:
        return False
