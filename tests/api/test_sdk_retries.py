"""When the openai SDK tries again, and when it does not: it goes by our headers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from service.engine.fake import FakeEngine
from service.errors import DeadlineExceeded, Overloaded, RecognitionFailed, WrenError
from tests.api.serving import served
from tests.api.speech import FOX, app_of

RETRIES = 2


@contextmanager
def asked(engine: FakeEngine, *, retries: int) -> Iterator[openai.OpenAI]:
    with (
        served(app_of(engine)) as port,
        openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=retries) as client,
    ):
        yield client


def failure(engine: FakeEngine, *, retries: int = 0, **extras: object) -> openai.APIStatusError:
    with asked(engine, retries=retries) as client, pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(file=("a.wav", b"any bytes"), model="whisper-1", extra_body=extras)
    return caught.value


def test_overload_is_a_rate_limit_with_the_time_to_come_back() -> None:
    refusal = failure(FakeEngine(error=Overloaded(retry_after_s=6.2)))
    assert isinstance(refusal, openai.RateLimitError)
    assert refusal.code == "overloaded"
    assert refusal.response.headers["retry-after"] == "7"
    assert refusal.response.headers["retry-after-ms"] == "7000"


def test_missed_deadline_of_the_client_is_not_tried_again() -> None:
    engine = FakeEngine(error=DeadlineExceeded(budget_s=2, asked=True))
    late = failure(engine, retries=RETRIES, deadline_s=2)
    assert isinstance(late, openai.InternalServerError)
    assert (late.status_code, late.code) == (504, "deadline_exceeded")
    assert [request.deadline_s for request in engine.requests] == [2.0]


@pytest.mark.parametrize("error", [RecognitionFailed("no luck"), DeadlineExceeded(budget_s=2, asked=False)])
def test_what_may_go_better_next_time_is_left_to_the_sdk(error: WrenError) -> None:
    assert "x-should-retry" not in failure(FakeEngine(error=error)).response.headers


def test_priority_is_an_extra(tmp_path: Path) -> None:
    engine = FakeEngine(FOX)
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"any bytes")
    with asked(engine, retries=0) as client:
        client.audio.transcriptions.create(file=recording, model="whisper-1", extra_body={"priority": "batch"})
    assert engine.requests[0].priority == "batch"
