import pytest
from starlette.requests import HTTPConnection

from service.api.auth import InvalidKey, check, is_valid, presented_key


@pytest.mark.parametrize("header", ["Bearer K", "bearer  K", "Token K"])
def test_key_in_the_header(header: str) -> None:
    assert presented_key(authorization=header) == "K"


def test_key_in_the_subprotocols_of_both_dialects() -> None:
    assert presented_key(subprotocols=("realtime", "openai-insecure-api-key.K")) == "K"
    assert presented_key(subprotocols=("token", "K")) == "K"


def test_key_in_the_query() -> None:
    assert presented_key(query_key="K") == "K"


@pytest.mark.parametrize("header", [None, "", "Basic K", "Bearer ", "K"])
def test_anything_else_is_no_key(header: str | None) -> None:
    assert presented_key(authorization=header, subprotocols=("realtime",), query_key="") is None


def test_any_of_the_keys_will_do() -> None:
    assert is_valid("b", ("a", "b"))
    assert not is_valid("c", ("a", "b"))
    assert not is_valid(None, ("a",))
    assert not is_valid("ключ", ("a",))


def test_without_keys_everyone_is_let_in() -> None:
    assert is_valid(None, ())


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_check_reads_requests_and_websockets_alike(kind: str) -> None:
    scope = {"type": kind, "headers": [(b"sec-websocket-protocol", b"token, K")], "query_string": b"", "path": "/"}
    check(HTTPConnection(scope), ("K",))
    scope = {"type": kind, "headers": [], "query_string": b"token=K", "path": "/"}
    check(HTTPConnection(scope), ("K",))
    with pytest.raises(InvalidKey, match="not valid"):
        check(HTTPConnection(scope), ("L",))
