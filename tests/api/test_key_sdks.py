"""Keys and quotas with the real SDKs, each in an environment of its own, against `wren serve`."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from service.api.keys_file import Key, digest_of, write_keys
from service.api.quota import UNLIMITED, Limits
from tests.api.sdk import CURRENT, DEEPGRAM, OPENAI, check_names, run_checks
from tests.live import LiveServer, recording, wren_serve

SCRIPTS = {"key_openai_checks": (CURRENT, OPENAI[0]), "key_deepgram_checks": (DEEPGRAM[0], DEEPGRAM[-1])}
"""The latest version and the oldest."""

ONCE = Limits(requests_per_minute=1)
KEYS = {"free": UNLIMITED, "one-request": ONCE, "one-stream": ONCE}


def names_for(sdk: str) -> list[str]:
    """Keys of its own for each: a quota can be used up once."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in sdk)
    return [f"{slug}.{name}" for name in KEYS]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("guarded")
    sdks = [sdk for sdks in SCRIPTS.values() for sdk in sdks]
    keys = [
        Key(name, digest_of(f"key-{name}"), frozenset({"transcribe"}), limits)
        for sdk in sdks
        for name, limits in zip(names_for(sdk), KEYS.values(), strict=True)
    ]
    write_keys(folder / "keys.toml", keys)
    settings = {"WREN_MODEL": "whisper-tiny.en:int8", "WREN_API_KEYS": "", "WREN_KEYS_FILE": str(folder / "keys.toml")}
    with wren_serve(folder / "log", settings) as server:
        yield server


@cache
def outcomes(script: str, sdk: str, server: LiveServer) -> dict[str, str | None]:
    url = f"{server.url}/v1" if script == "key_openai_checks" else server.url
    keys = [f"key-{name}" for name in names_for(sdk)]
    return run_checks(script, sdk, url, *keys, str(recording("en/quick_brown_fox")))


@pytest.mark.parametrize(
    ("script", "sdk", "name"),
    [(script, sdk, name) for script, sdks in SCRIPTS.items() for sdk in sdks for name in check_names(script)],
)
def test_sdk_and_key(script: str, sdk: str, name: str, guarded: LiveServer) -> None:
    outcome = outcomes(script, sdk, guarded)[name]
    assert outcome is None, outcome


def test_the_log_names_keys_and_has_none(guarded: LiveServer) -> None:
    text = Path(guarded.log).read_text()
    assert '"current.one-request"' in text
    assert "key-" not in text
