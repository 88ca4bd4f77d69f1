"""The real openai SDK, its latest version and 1.109.1, against the application with an engine that needs no models.

`tests/test_server.py` runs the same checks against `wren serve`.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from service.engine.fake import FakeEngine, model_info
from tests.api.sdk import VERSIONS, check_names, run_checks
from tests.api.serving import served
from tests.api.speech import FOX, app_of

KEY = "right"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    engine = FakeEngine(FOX, infos=(model_info("fake", "int8", default=True), model_info("fake", "fp32")))
    with served(app_of(engine, api_keys=(KEY,))) as port:
        yield port


@cache
def outcomes(version: str, port: int, recording: Path) -> dict[str, str | None]:
    return run_checks("sdk_checks", version, f"http://127.0.0.1:{port}/v1", KEY, str(recording), "fox")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sdk") / "speech.wav"
    path.write_bytes(b"the fake engine does not listen")
    return path


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", check_names("sdk_checks"))
def test_sdk(version: str, name: str, port: int, recording: Path) -> None:
    assert outcomes(version, port, recording)[name] is None, outcomes(version, port, recording)[name]
