from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings


def test_environment_sets_every_kind_of_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WREN_STORE", "/models")
    monkeypatch.setenv("WREN_API_KEYS", "one, two,")
    monkeypatch.setenv("WREN_CORS_ORIGINS", "https://a.example,https://b.example")
    monkeypatch.setenv("WREN_MAX_UPLOAD_MIB", "0.5")
    settings = Settings()
    assert settings.store == Path("/models")
    assert settings.keys == ("one", "two")
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.max_upload_bytes == 2**19


def test_sizes_and_durations_are_written_with_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WREN_MEMORY", "512MiB")
    monkeypatch.setenv("WREN_LATENCY", "0.2s")
    settings = Settings()
    assert (settings.memory, settings.latency) == (2**29, 200)


@pytest.mark.parametrize(("name", "value"), [("MEMORY", "much"), ("LATENCY", "soon"), ("MAX_WER_LOSS", "-1")])
def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"WREN_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(
    ("given", "device"), [("auto", "auto"), ("CPU", "cpu"), ("cuda", "cuda"), ("cuda:1, cuda:0", "cuda:1,cuda:0")]
)
def test_devices_are_known_by_name(monkeypatch: pytest.MonkeyPatch, given: str, device: str) -> None:
    monkeypatch.setenv("WREN_DEVICE", given)
    assert Settings().device == device


@pytest.mark.parametrize("given", ["gpu", "cuda:x", "cpu,cuda:0", "cuda,cuda:1", "cuda:0,cuda:0", "cuda:0,"])
def test_what_is_no_device_is_refused_with_what_there_is(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("WREN_DEVICE", given)
    with pytest.raises(ValidationError, match="is no device: write auto, cpu, cuda, or some GPUs like cuda:0,cuda:2"):
        Settings()


def test_a_ladder_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WREN_LADDER", "fp32, int8")
    assert Settings().ladder == ("fp32", "int8")


def test_keys_stay_out_of_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WREN_API_KEYS", "hush")
    assert "hush" not in repr(Settings())


def test_impossible_value_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WREN_MAX_DURATION_S", "-1")
    with pytest.raises(ValidationError, match="max_duration_s"):
        Settings()


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
