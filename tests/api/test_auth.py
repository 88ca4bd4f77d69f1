import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient, WebSocketDenialResponse

from service.api.auth import (
    ForeignOrigin,
    InvalidKey,
    NotLocal,
    check,
    check_operator,
    is_loopback,
    presented_key,
    welcome,
)
from service.api.keyring import Keyring
from service.api.sockets import fitting
from service.engine.fake import FakeEngine
from tests.api.realtime import connected
from tests.api.speech import app_of


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


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_check_reads_requests_and_websockets_alike(kind: str) -> None:
    scope = {"type": kind, "headers": [(b"sec-websocket-protocol", b"token, K")], "query_string": b"", "path": "/"}
    check(HTTPConnection(scope), Keyring(("K",)))
    scope = {"type": kind, "headers": [], "query_string": b"token=K", "path": "/"}
    check(HTTPConnection(scope), Keyring(("K",)))
    with pytest.raises(InvalidKey, match="not valid"):
        check(HTTPConnection(scope), Keyring(("L",)))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_the_machine_itself_has_these_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "0.0.0.0", "localhost", ""])
def test_all_others_are_elsewhere(host: str) -> None:
    assert not is_loopback(host)


def operator(address: str | None, **headers: str) -> HTTPConnection:
    sent = [(name.encode(), value.encode()) for name, value in {"host": "localhost:8000", **headers}.items()]
    client = (address, 5000) if address else None
    return HTTPConnection({"type": "http", "headers": sent, "query_string": b"", "path": "/", "client": client})


def test_without_keys_only_the_machine_itself_operates() -> None:
    check_operator(operator("127.0.0.1"), Keyring())
    for host in ("10.0.0.1", None):
        with pytest.raises(NotLocal, match="WREN_API_KEYS"):
            check_operator(operator(host), Keyring())


def test_without_keys_a_page_from_elsewhere_does_not_operate() -> None:
    check_operator(operator("127.0.0.1", origin="http://localhost:8000"), Keyring())
    check_operator(operator("::1", origin="http://[::1]:8000", host="[::1]:8000"), Keyring())
    for origin in ("https://evil.example", "http://localhost:9000", "null"):
        with pytest.raises(NotLocal):
            check_operator(operator("127.0.0.1", origin=origin), Keyring())


def test_without_keys_a_page_whose_name_was_made_to_lead_here_does_not_operate() -> None:
    with pytest.raises(NotLocal):
        check_operator(operator("127.0.0.1", origin="http://evil.example:8000", host="evil.example:8000"), Keyring())


def test_with_keys_a_key_operates_from_anywhere_and_nothing_else_does() -> None:
    check_operator(operator("10.0.0.1", authorization="Bearer K", origin="https://app.example"), Keyring(("K",)))
    with pytest.raises(InvalidKey):
        check_operator(operator("127.0.0.1"), Keyring(("K",)))


def page(origin: str | None, host: str = "localhost:8000", *, welcomed: tuple[str, ...] = ()) -> HTTPConnection:
    """A WebSocket that a page of the origin opens."""
    app = Starlette()
    welcome(app, welcomed)
    sent = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin is not None else [])
    return HTTPConnection({"type": "websocket", "headers": sent, "query_string": b"", "path": "/", "app": app})


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "wren.example"),
        ("http://localhost:8000", "localhost:8000"),
        ("https://127.0.0.1", "127.0.0.1"),
        ("http://10.0.0.7:8000", "10.0.0.7:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_without_keys_programs_and_the_servers_own_pages_open_websockets(origin: str | None, host: str) -> None:
    check(page(origin, host), Keyring())


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "localhost:8000"),
        ("http://localhost:9000", "localhost:8000"),
        ("http://evil.example:8000", "evil.example:8000"),
        ("null", "localhost:8000"),
        ("", ""),
        ("http://[::1", "[::1"),
    ],
)
def test_without_keys_pages_from_elsewhere_do_not_unless_they_are_listed(origin: str, host: str) -> None:
    for welcomed in ((), ("https://other.example",)):
        with pytest.raises(ForeignOrigin, match="WREN_CORS_ORIGINS"):
            check(page(origin, host, welcomed=welcomed), Keyring())
    check(page(origin, host, welcomed=("*",)), Keyring())
    check(page(origin, host, welcomed=("https://other.example", origin)), Keyring())


def test_with_keys_the_key_decides_and_not_the_origin() -> None:
    with pytest.raises(InvalidKey):
        check(page("http://localhost:8000"), Keyring(("K",)))
    connection = page("https://evil.example")
    connection.scope["query_string"] = b"token=K"
    check(connection, Keyring(("K",)))


def test_a_request_of_a_page_is_for_cors_to_judge() -> None:
    connection = page("https://evil.example")
    connection.scope["type"] = "http"
    check(connection, Keyring())


def test_what_to_do_fits_into_the_reason_of_a_close() -> None:
    reason = str(ForeignOrigin("https://" + "x" * 1000))
    assert fitting(reason) == reason


def test_a_page_of_another_origin_gets_no_realtime_session_unless_it_is_listed() -> None:
    page = {"origin": "https://app.example"}
    with connected(FakeEngine(), headers=page) as client:
        assert client.error()["code"] == "foreign_origin"
        code, reason = client.closed()
    assert (code, "WREN_CORS_ORIGINS" in reason) == (1008, True)
    with connected(FakeEngine(), headers=page, cors_origins=("https://app.example",)) as client:
        assert client.hear()["type"] == "session.created"


def test_a_page_of_another_origin_gets_no_deepgram_stream_unless_it_is_listed() -> None:
    page = {"origin": "https://app.example"}
    refused = TestClient(app_of(FakeEngine())).websocket_connect("/v1/listen", headers=page)
    with pytest.raises(WebSocketDenialResponse) as denied, refused:
        pass
    assert (denied.value.status_code, denied.value.json()["err_code"]) == (403, "INSUFFICIENT_PERMISSIONS")
    assert "WREN_CORS_ORIGINS" in denied.value.headers["dg-error"]
    app = app_of(FakeEngine(), cors_origins=("https://app.example",))
    with TestClient(app).websocket_connect("/v1/listen", headers=page) as stream:
        stream.send_json({"type": "CloseStream"})
        assert stream.receive_json()["type"] == "Results"
