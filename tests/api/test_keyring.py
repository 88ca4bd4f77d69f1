import logging
from pathlib import Path

import pytest

from service.api.keyring import ALL_SCOPES, Keyring, is_hashed, listed_key
from service.api.keys_file import Key, digest_of, new_key, read_keys, write_keys
from service.engine.fake import FakeEngine
from tests.api.realtime import connected
from tests.api.speech import FILE, FOX, app_of, client_of

ONLY_TRANSCRIBE = Key("phone", digest_of("phone-key"), frozenset({"transcribe"}))
ADMIN = Key("ops", digest_of("ops-key"), frozenset({"admin"}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    write_keys(path, (ONLY_TRANSCRIBE, ADMIN))
    return path


def test_any_of_the_keys_will_do() -> None:
    keyring = Keyring(("a", "b"))
    assert keyring.find("b") == Key(digest_of("b")[:16], digest_of("b"), ALL_SCOPES)
    assert keyring.find("c") is keyring.find("ключ") is keyring.find("") is None


def test_a_hashed_key_lets_the_key_in_and_not_its_digest() -> None:
    text = f"ops:sha256:{digest_of('hush')}"
    keyring = Keyring((text,))
    found = keyring.find("hush")
    assert found is not None
    assert found.name == "ops"
    assert keyring.find(text) is keyring.find(digest_of("hush")) is None


def test_a_key_is_not_in_its_name_nor_kept() -> None:
    assert "hush" not in repr(listed_key("hush-hush"))


def test_no_keys_ask_for_none_but_an_empty_file_does(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write_keys(path, ())
    assert not Keyring().guarded
    assert Keyring(file=path).guarded


def test_a_removed_key_is_refused_without_a_restart(file: Path) -> None:
    keyring = Keyring(file=file)
    assert keyring.find("phone-key") == ONLY_TRANSCRIBE
    write_keys(file, (ADMIN,))
    assert keyring.find("phone-key") is None
    assert keyring.find("ops-key") == ADMIN


def test_a_broken_file_keeps_the_keys_and_is_told_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    keyring = Keyring(file=file)
    file.write_text("[[key]")
    with caplog.at_level(logging.WARNING):
        assert keyring.find("phone-key") == keyring.find("phone-key") == ONLY_TRANSCRIBE
    assert len(caplog.records) == 1
    file.unlink()
    assert keyring.find("phone-key") == ONLY_TRANSCRIBE
    write_keys(file, (ADMIN,))
    assert keyring.find("phone-key") is None


@pytest.mark.anyio
async def test_only_a_key_with_the_scope_changes_what_is_served(file: Path) -> None:
    async with client_of(app_of(FakeEngine(FOX), keys_file=file)) as client:
        phone, ops = {"authorization": "Bearer phone-key"}, {"authorization": "Bearer ops-key"}
        refused = await client.post("/v1/models/fake/load", headers=phone)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")
        assert (await client.post("/v1/models/fake/load", headers=ops)).status_code == 200
        for headers in (phone, ops):
            assert (await client.get("/v1/models", headers=headers)).status_code == 200
        assert (await client.get("/v1/models")).status_code == 401


@pytest.mark.anyio
async def test_the_engine_learns_the_name_of_the_key(file: Path) -> None:
    engine = FakeEngine(FOX)
    async with client_of(app_of(engine, keys_file=file)) as client:
        headers = {"authorization": "Bearer phone-key"}
        await client.post("/v1/audio/transcriptions", data={"model": "fake"}, files=FILE, headers=headers)
        await client.post("/v1/listen", content=b"audio", headers={"authorization": "Token phone-key"})
    assert [request.client for request in engine.requests] == ["phone", "phone"]


def test_a_key_of_the_file_opens_a_session(file: Path) -> None:
    with connected(FakeEngine(), headers={"authorization": "Bearer phone-key"}, keys_file=file) as client:
        assert client.hear()["type"] == "session.created"
    with connected(FakeEngine(), headers={"authorization": "Bearer other"}, keys_file=file) as client:
        assert client.error()["code"] == "invalid_api_key"


def test_the_file_is_its_owners_alone(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_new_keys_are_long_and_differ() -> None:
    assert new_key() != new_key()
    assert new_key().startswith("wren_")
    assert len(new_key()) == len("wren_") + 43


def test_what_is_written_is_read_again(file: Path) -> None:
    assert read_keys(file) == (ONLY_TRANSCRIBE, ADMIN)


def test_a_digest_is_told_from_a_key() -> None:
    assert is_hashed(f"app:sha256:{digest_of('secret')}")
    assert not is_hashed("app:sha256:secret")
