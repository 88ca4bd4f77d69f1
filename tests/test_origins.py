"""Which source of a setting wins, and what is said of what cannot be."""

from pathlib import Path

import pytest

from service.origins import Origin, WrongSettings, read

SECRET = "hush-1234"


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a folder of secrets, without any."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WREN_SECRETS_DIR", str(secrets))
    monkeypatch.delenv("WREN_STORE", raising=False)
    return tmp_path


def toml(text: str) -> Path:
    path = Path("wren.toml")
    path.write_text(text, encoding="utf-8")
    return path


def complaint(**given: object) -> str:
    with pytest.raises(WrongSettings) as caught:
        read(given)
    return str(caught.value)


def test_what_nobody_says_is_the_default() -> None:
    sourced = read()
    assert (sourced.settings.port, sourced.origin("port"), sourced.warnings) == (8000, Origin("default"), ())


def test_each_source_outranks_those_below(monkeypatch: pytest.MonkeyPatch) -> None:
    toml("threads = 1\nstuck_s = 1\nprofile_s = 1\nspool_mib = 1")
    monkeypatch.setenv("WREN_STUCK_S", "2")
    monkeypatch.setenv("WREN_PROFILE_S", "2")
    monkeypatch.setenv("WREN_SPOOL_MIB", "2")
    sourced = read({"spool_mib": 4.0, "model": None}, assigned=["profile_s=3", "spool_mib=3"])
    assert {
        name: (getattr(sourced.settings, name), sourced.origin(name))
        for name in ("threads", "stuck_s", "profile_s", "spool_mib")
    } == {
        "threads": (1, Origin("wren.toml", "wren.toml")),
        "stuck_s": (2, Origin("environment", "WREN_STUCK_S")),
        "profile_s": (3, Origin("flag", "--set profile_s")),
        "spool_mib": (4, Origin("flag", "--spool-mib")),
    }


def test_secrets_rank_between_environment_and_file(somewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml('api_keys = ["low"]')
    mounted = somewhere / "secrets" / "wren_api_keys"
    mounted.write_text("mounted\n")
    assert (read().settings.keys, read().origin("api_keys")) == (("mounted",), Origin("secret file", str(mounted)))
    (somewhere / "keys").write_text("named\nsecond, third\n")
    monkeypatch.setenv("WREN_API_KEYS_FILE", "keys")
    assert read().settings.keys == ("named", "second", "third")
    monkeypatch.setenv("WREN_API_KEYS", "high")
    assert read().settings.keys == ("high",)


def test_file_means_what_the_environment_means() -> None:
    toml('memory = "512MiB"\nlatency = 300\nladder = ["fp32", "int8"]\nmax_wer_loss = inf\ncors_origins = "a, b"')
    settings = read().settings
    assert (settings.memory, settings.latency, settings.ladder) == (2**29, 300, ("fp32", "int8"))
    assert (settings.max_wer_loss, settings.cors_origins) == (float("inf"), ("a", "b"))


def test_another_file_can_be_named(somewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml("port = 1")
    for name in ("two", "three"):
        (somewhere / f"{name}.toml").write_text(f"port = {len(name)}")
    monkeypatch.setenv("WREN_CONFIG", "two.toml")
    assert read().settings.port == 3
    assert read(config=somewhere / "three.toml").settings.port == 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("modle = 'x'", "modle in wren.toml: there is no such setting (did you mean model?)"),
        ("[server]\nport = 1", "server in wren.toml: there is no such setting and no tables"),
        ("port = 'x'", "port in wren.toml: 'x' is wrong: write a whole number of at least 0 and of at most 65535"),
        ("threads = true", "threads in wren.toml: 'true' is wrong: write a whole number of at least 1"),
        ("memory = 512", "memory in wren.toml: '512' is 512 bytes: write it like 300MB, 512MiB or 2g"),
        ("prefer = 'best'", "prefer in wren.toml: 'best' is wrong: write balanced, accuracy or speed"),
        ("model = ''", "model in wren.toml: '' is wrong: write something: it is empty"),
        ("host = ['a']", "host in wren.toml: ['a'] is wrong: write some text"),
        ('"a\\nb" = 1', "a b in wren.toml: there is no such setting"),
        ("a = " + "[" * 3000, "The file of settings wren.toml cannot be read: "),
        ("port 1", "The file of settings wren.toml cannot be read: Expected '='"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(text: str, told: str) -> None:
    toml(text)
    assert complaint().startswith(told)


def test_a_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WREN_CONFIG", "gone.toml")
    assert complaint() == "The file of settings gone.toml is missing: write it, or name another with --config"
    monkeypatch.delenv("WREN_CONFIG")
    Path("wren.toml").mkdir()
    assert "is a folder" in complaint()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("LATENCY", "soon", "'soon' is no duration: write it like 300ms or 0.2s"),
        ("SPOOL_MIB", "inf", "'inf' is wrong: write a number that is finite"),
        ("STUCK_S", "0.5", "'0.5' is wrong: write a number of at least 1"),
        ("MAX_DURATION_S", "nan", "'nan' is wrong: write a number above 0"),
        ("PORT", "tcp://10.0.0.1:8000", "'tcp://10.0.0.1:8000' is wrong: write a whole number"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(f"WREN_{name}", value)
    assert complaint().startswith(f"WREN_{name} in the environment: {told}")


def test_a_value_that_is_outranked_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WREN_PORT", "eighty")
    assert read({"port": 80}).settings.port == 80


@pytest.mark.parametrize(
    ("assigned", "told"),
    [
        ("threads", "--set threads: write NAME=VALUE, such as --set threads=2"),
        ("thread=2", "--set thread: there is no such setting (did you mean threads?)"),
        ("threads=two", "--set threads: 'two' is wrong: write a whole number of at least 1"),
        (f"api_keys={SECRET}", "--set api_keys: whoever lists the processes would read the secret"),
    ],
)
def test_what_is_wrong_with_a_flag_is_named(assigned: str, told: str) -> None:
    with pytest.raises(WrongSettings) as caught:
        read(assigned=[assigned])
    assert str(caught.value).startswith(told)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["WREN_MAX-UPLOAD-MIB", "max-upload-mib", "MAX_UPLOAD_MIB"])
def test_a_flag_may_write_the_name_in_any_way(name: str) -> None:
    assert read(assigned=[f"{name}=1", f"{name}=2"]).settings.max_upload_mib == 2


def test_an_empty_secret_never_opens_the_server(somewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = somewhere / "secrets" / "wren_api_keys"
    kept.write_text("\n")
    assert complaint() == f"{kept}: the file is empty: write the secret into it, or take it away"
    monkeypatch.setenv("WREN_API_KEYS_FILE", str(kept))
    assert "the file is empty" in complaint()


def test_a_secret_that_cannot_be_read_never_opens_the_server(somewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (somewhere / "outside").write_text(SECRET)
    (somewhere / "secrets" / "wren_api_keys").symlink_to(somewhere / "outside")
    assert "resolves outside of" in complaint()
    monkeypatch.setenv("WREN_API_KEYS_FILE", "gone")
    assert complaint() == "WREN_API_KEYS_FILE in the environment: cannot read gone: No such file or directory"


def test_variables_that_mean_nothing_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODLE", "CATALOG", "BENCH_DATA", "SERVICE_HOST", "PORT_8000_TCP", "API_KEY"):
        monkeypatch.setenv(f"WREN_{name}", "")
    assert read().warnings == (
        "WREN_API_KEY in the environment is ignored: there is no such setting (did you mean WREN_API_KEYS?)",
        "WREN_MODLE in the environment is ignored: there is no such setting (did you mean WREN_MODEL?)",
    )
