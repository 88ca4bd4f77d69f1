import httpx

from service.engine.fake import FakeEngine
from tests.api.serving import served
from tests.api.speech import FOX, app_of

ORIGIN = "https://app.example"


def test_engine_runs_as_long_as_the_app() -> None:
    engine = FakeEngine(FOX)
    with served(app_of(engine)):
        assert engine.running
    assert not engine.running


def test_browsers_are_kept_out_unless_their_origin_is_listed() -> None:
    with served(app_of(FakeEngine(FOX))) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/health/live", headers={"origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers


def test_listed_origin_may_call_and_read_the_headers() -> None:
    with served(app_of(FakeEngine(FOX), cors_origins=(ORIGIN,))) as port:
        url = f"http://127.0.0.1:{port}/v1/audio/transcriptions"
        preflight = {"origin": ORIGIN, "access-control-request-method": "POST"}
        assert httpx.options(url, headers=preflight).headers["access-control-allow-origin"] == ORIGIN
        answer = httpx.get(f"http://127.0.0.1:{port}/health/live", headers={"origin": ORIGIN})
    assert "x-wren-variant" in answer.headers["access-control-expose-headers"]
