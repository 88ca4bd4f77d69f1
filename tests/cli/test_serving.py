"""The commands that ask a running server, as processes of their own, against an app whose engine needs no models."""

import json
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from service.engine.fake import FakeEngine, model_info
from tests.api.serving import served
from tests.api.speech import FOX, app_of
from tests.cli.running import wren
from tests.live import free_port

INFOS = (model_info("fake", "fp32", default=True), model_info("fake", "int8"), model_info("fake", "int4"))


@pytest.fixture
def port() -> Iterator[int]:
    with served(app_of(FakeEngine(FOX, infos=INFOS, broken=("fake:int4",)))) as port:
        yield port


def ask(port: int, *arguments: str) -> CompletedProcess[str]:
    return wren(*arguments, env={"WREN_PORT": str(port)})


def test_a_variant_is_loaded_and_unloaded(port: int) -> None:
    loaded = ask(port, "models", "load", "fake:int8", "--keep-alive", "5m")
    assert (loaded.returncode, loaded.stdout) == (0, "fake:int8 is loaded: 100 MB, loaded in 250 ms\n"), loaded.stderr
    unloaded = ask(port, "models", "unload", "fake")
    assert (unloaded.returncode, unloaded.stdout) == (0, "Unloaded fake:fp32\nUnloaded fake:int8\n")
    assert ask(port, "models", "unload", "fake").stdout == "Nothing of fake was in memory\n"


def test_a_variant_is_pinned_and_released_and_the_tables_tell(port: int) -> None:
    pinned = ask(port, "models", "pin", "int8")
    assert (pinned.returncode, pinned.stdout) == (0, "fake:int8 serves auto: pinned\n"), pinned.stderr
    shown = ask(port, "precision")
    assert "pin int8" in shown.stdout
    assert "*  fake:int8" in shown.stdout
    assert "fake:int8 for fake:fp32" in shown.stdout
    assert json.loads(ask(port, "precision", "--json").stdout)["models"][0]["serving"] == "fake:int8"
    released = ask(port, "models", "pin", "--none", "--model", "fake")
    assert (released.returncode, released.stdout) == (0, "fake:fp32 serves fake: released\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("load", "nope"), "wren: There is no model 'nope' here. Available: fake:fp32, fake:int8, fake:int4.\n"),
        (("load", "fake:int4"), "wren: The model 'fake:int4' cannot be loaded: it is broken.\n"),
        (("load", "fake", "--keep-alive", "long"), "wren: The field 'keep_alive': 'long' is no time to stay: "),
        (("pin", "fp7"), "wren: There is no 'fp7' of this model.\n"),
        (("unload", "a b?/"), "wren: There is no model 'a b?/' here. "),
    ],
)
def test_what_the_server_refuses_is_a_line(port: int, arguments: tuple[str, ...], message: str) -> None:
    done = ask(port, "models", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("pin",), ("pin", "int8", "--none")])
def test_a_pin_is_set_or_taken_back(arguments: tuple[str, ...]) -> None:
    done = wren("models", *arguments)
    assert done.returncode == 2
    assert "--none" in done.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "http://[wrong"])
def test_where_no_server_answers_the_line_says_what_to_do(url: str) -> None:
    done = wren("models", "load", "fake", "--server", url.format(port=free_port()))
    assert done.returncode == 1
    assert done.stderr.startswith("wren: No server answers at ")
    assert "`wren serve`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_key_comes_from_the_option_or_the_environment() -> None:
    with served(app_of(FakeEngine(FOX, infos=INFOS), api_keys=("one", "two"))) as port:
        url = f"http://127.0.0.1:{port}/v1/"
        assert wren("models", "load", "fake", "--server", url, "--key", "two").returncode == 0
        assert wren("models", "load", "fake", "--url", url, env={"WREN_API_KEYS": "one,two"}).returncode == 0
        bare = f"127.0.0.1:{port}"
        assert wren("models", "load", "fake", "--server", bare, "--key", "two").returncode == 0
        refused = wren("models", "load", "fake", "--url", url)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "An API key is needed" in refused.stderr
