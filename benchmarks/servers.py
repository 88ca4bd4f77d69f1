"""Server processes to be loaded: `wren serve`, and beside it a peer that speaks the same protocol on the same weights.

Each listens on a free port of the loopback address. What WREN_… variables say else holds for ours.
"""

import argparse
import json
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import httpx

from benchmarks import peer
from benchmarks.local import variant
from benchmarks.peer import COMPUTE, Compute, PeerDevice
from model_store.manifest import Manifest
from tests.convert.originals import original
from tests.live import free_port, wren_serve

ANY_MODEL = "whisper-1"
"""What requests call the model: every server here knows it, and the bytes sent are the same."""

ANSWER_S = 1800
"""As long as the longest file may take the slowest server."""

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Servers are asked in the clear: no client need read certificates."""

POOL = httpx.Limits()
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

START_S = 60
STOP_S = 30

PEER_VERSIONS = """
import json
from importlib.metadata import version
print(json.dumps({name: version(name) for name in ("faster-whisper-server", "faster-whisper", "ctranslate2", "av")}))
"""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    url: str
    pid: int
    key: str = ""

    def client(self, limits: httpx.Limits = POOL) -> httpx.AsyncClient:
        """One for each that asks: what a shared one does to find a free connection grows with the square of them."""
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=ANSWER_S, limits=limits, verify=NO_TLS, trust_env=False
        )


def ours(store: Path, model: Manifest, *, threads: int) -> AbstractContextManager[Server]:
    return wren(store, model.name, threads=threads)


@contextmanager
def wren(store: Path, model: str, *, threads: int, settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[Server]:
    """`wren serve` with what WREN_MODEL is to be, and with other settings."""
    named = {"WREN_STORE": str(store.absolute()), "WREN_MODEL": model, "WREN_THREADS": str(threads)}
    with TemporaryDirectory() as folder, wren_serve(Path(folder) / "log", {**named, **settings}) as live:
        yield Server(model, live.url, live.pid, live.key)


@contextmanager
def theirs(python: Path, model: str, compute: Compute, *, threads: int, device: PeerDevice = "cpu") -> Iterator[Server]:
    """faster-whisper-server, beam 1, its other settings as they come.

    Raises:
        RuntimeError: it is not there in time or ended; the message has its log.
    """
    port = free_port()
    with TemporaryDirectory() as folder:
        config, log = Path(folder) / "models.yaml", Path(folder) / "log"
        config.write_text(peer_config(original(model), compute, threads=threads, device=device))
        command = [str(python), "-P", "-m", "faster_whisper_server", "--config", str(config)]
        with log.open("wb") as output:
            listening = ["--host", "127.0.0.1", "--port", str(port)]
            process = subprocess.Popen([*command, *listening], stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_there(process, url, log)
            yield Server(f"faster-whisper-server {compute}", url, process.pid)
        finally:
            process.terminate()
            process.wait(timeout=STOP_S)


def peer_config(weights: Path, compute: Compute, *, threads: int, device: PeerDevice = "cpu") -> str:
    """JSON, which is YAML too."""
    loading = {"device": device, "compute_type": compute, "cpu_threads": threads}
    model = {"name": ANY_MODEL, "path": str(weights), "model_options": loading, "transcribe_options": {"beam_size": 1}}
    return json.dumps({"models": [model]})


def add_peer_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer-precision", choices=list(COMPUTE), default="int8")
    parser.add_argument("--peer-device", choices=["cpu", "cuda"], default="cpu")
    peer.add_option(parser)


def peer_versions(python: Path) -> dict[str, str]:
    done = subprocess.run([str(python), "-P", "-c", PEER_VERSIONS], capture_output=True, text=True, check=True)
    return {str(name): str(found) for name, found in json.loads(done.stdout).items()}


def _wait_until_there(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the peer does not answer:\n{log.read_text()}")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def opened(asked: argparse.Namespace, stack: ExitStack) -> list[Server]:
    """Wren with each model that was asked for, then the peer, if there is one, with the first Whisper's weights."""
    manifests = [variant(asked.store, name) for name in asked.models]
    found = [stack.enter_context(ours(asked.store, one, threads=asked.threads)) for one in manifests]
    whispers = [one.model for one in manifests if one.family == "whisper"]
    if asked.peer_python and whispers:
        compute = COMPUTE[asked.peer_precision]
        other = theirs(asked.peer_python, whispers[0], compute, threads=asked.threads, device=asked.peer_device)
        found.append(stack.enter_context(other))
    return found
