from collections.abc import Iterator

import pytest

import service.backends.torch  # noqa: F401 - how torch's threads wait is settled before a test imports torch
from tests.live import LiveServer, wren_serve

LIMITS = {
    "WREN_MODEL": "whisper-tiny.en",
    "WREN_MAX_DURATION_S": "60",
    "WREN_MAX_UPLOAD_MIB": "8",
    "WREN_SPOOL_MIB": "1",
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One for the whole run, with limits small enough to be reached."""
    with wren_serve(tmp_path_factory.mktemp("server") / "log", LIMITS) as server:
        yield server
