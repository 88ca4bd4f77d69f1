"""The real SDKs of both live protocols, several versions of each in environments of their own, against `wren serve`."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from tests.api.sdk import DEEPGRAM, OPENAI, check_names, run_checks
from tests.live import LiveServer, recording, wren_serve

RATE = 16_000
PAUSE_S = 1.2
"""Longer than any of the checks asks for, to end a turn or an utterance."""

STREAMS = 8
"""At the same time: as many as a script has checks."""

SCRIPTS = {"stream_openai_checks": OPENAI, "stream_deepgram_checks": DEEPGRAM}


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One for all of them."""
    settings = {"WREN_MODEL": "whisper-tiny.en", "WREN_MAX_STREAMS": str(STREAMS)}
    with wren_serve(tmp_path_factory.mktemp("live") / "log", settings) as server:
        yield server


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `turns-RATE.wav`: the fox, a pause, hello world and a pause; and `fox.ulaw`."""
    made = tmp_path_factory.mktemp("turns")
    fox, hello = (
        soundfile.read(recording(f"en/{name}"), dtype="float32")[0] for name in ("quick_brown_fox", "hello_world")
    )
    pause = np.zeros(int(PAUSE_S * RATE), np.float32)
    turns = np.concatenate([fox, pause, hello, pause])
    for rate in (16_000, 24_000):
        soundfile.write(made / f"turns-{rate}.wav", soxr.resample(turns, RATE, rate), rate, subtype="PCM_16")
    telephone = soxr.resample(fox, RATE, 8_000)
    soundfile.write(made / "fox.ulaw", telephone, 8_000, format="RAW", subtype="ULAW")
    return made


@cache
def outcomes(script: str, sdk: str, server: LiveServer, folder: Path) -> dict[str, str | None]:
    if script == "stream_openai_checks":
        files = [folder / "turns-24000.wav", folder / "fox.ulaw"]
        return run_checks(script, sdk, f"{server.url}/v1", server.key, *map(str, files))
    return run_checks(script, sdk, server.url, server.key, str(folder / "turns-16000.wav"))


@pytest.mark.parametrize(
    ("script", "sdk", "name"),
    [(script, sdk, name) for script, sdks in SCRIPTS.items() for sdk in sdks for name in check_names(script)],
)
def test_sdk_streams(script: str, sdk: str, name: str, live_server: LiveServer, folder: Path) -> None:
    outcome = outcomes(script, sdk, live_server, folder)[name]
    assert outcome is None, outcome
