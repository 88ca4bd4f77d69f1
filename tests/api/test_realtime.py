"""Who is let in to `/v1/realtime`, and what the others are told."""

from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from service.engine.fake import FakeEngine
from service.errors import ModelUnavailable, OptionError, Overloaded
from tests.api.realtime import connected, session


@pytest.mark.parametrize("address", ["/v1/realtime", "/v1/realtime?model=whisper-1", "/v1/realtime?model=fake:fp32"])
def test_intent_may_be_left_out_and_the_model_be_in_the_address(address: str) -> None:
    with session(FakeEngine(), address):
        pass


BROWSER = ("realtime", "openai-insecure-api-key.good")


@pytest.mark.parametrize(
    ("address", "headers", "subprotocols"),
    [
        ("/v1/realtime", {"authorization": "Bearer good"}, ()),
        ("/v1/realtime?api_key=good", {}, ()),
        ("/v1/realtime", {}, BROWSER),
        ("/v1/realtime", {}, (*BROWSER, "openai-beta.realtime-v1")),
    ],
)
def test_keys_are_taken_where_clients_can_put_them(
    address: str, headers: Mapping[str, str], subprotocols: tuple[str, ...]
) -> None:
    guarded = connected(FakeEngine(), address, headers=headers, subprotocols=subprotocols, api_keys="good")
    with guarded as client:
        assert client.hear()["type"] == "session.created"
        assert client.socket.accepted_subprotocol == ("realtime" if subprotocols else None)


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer bad"}])
def test_a_wrong_key_is_told_and_then_closed(headers: Mapping[str, str]) -> None:
    engine = FakeEngine()
    with connected(engine, headers=headers, api_keys="good") as client:
        assert client.error()["code"] == "invalid_api_key"
        code, reason = client.closed()
    assert (code, "API key" in reason) == (1008, True)
    assert not engine.streams


@pytest.mark.parametrize(
    ("error", "kind", "code", "close"),
    [
        (Overloaded(retry_after_s=7), "rate_limit_error", "overloaded", 1013),
        (ModelUnavailable("fake", "it is broken"), "server_error", "model_unavailable", 1011),
        (OptionError("No.", param="language"), "invalid_request_error", None, 1008),
    ],
)
def test_a_stream_that_is_refused_is_told_why(
    error: Overloaded | ModelUnavailable | OptionError, kind: str, code: str | None, close: int
) -> None:
    with connected(FakeEngine(error=error)) as client:
        told = client.error()
        assert (told["type"], told["code"], told["message"]) == (kind, code, str(error))
        assert client.closed() == (close, str(error))


def test_an_unknown_model_in_the_address_is_refused() -> None:
    with connected(FakeEngine(), "/v1/realtime?model=none") as client:
        assert client.error()["code"] == "model_not_found"
        assert client.closed()[0] == 1008


class BrokenEngine(FakeEngine):
    def listen(self, request):  # type: ignore[no-untyped-def]
        raise ZeroDivisionError("a secret of ours")


def test_an_unforeseen_fault_is_closed_with_a_reason_and_logged() -> None:
    with capture_logs() as lines, connected(BrokenEngine()) as client:
        assert client.error()["code"] == "internal_error"
        code, reason = client.closed()
    assert code == 1011
    assert "secret" not in reason
    failed, line = lines
    assert failed["exc_info"]
    assert failed["request_id"] in reason
    assert (line["status"], line["request_id"]) == (1011, failed["request_id"])
