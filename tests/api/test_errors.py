from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from service.api.auth import ForeignOrigin, InsufficientScope, InvalidKey, NotLocal
from service.api.errors import failure_of
from service.api.fetching import FetchFailed
from service.api.keys_file import KeysFileInvalid
from service.api.quota import RateLimited, Refusal
from service.api.uploads import UploadStalled
from service.errors import (
    AudioError,
    AudioTooLong,
    DeadlineExceeded,
    DeviceUnavailable,
    EmptyAudio,
    JobConflict,
    JobNotFound,
    JobsFull,
    JobsUnavailable,
    ModelNotFound,
    ModelUnavailable,
    NoAudioStream,
    NoRoom,
    NothingFits,
    OptionError,
    Overloaded,
    RecognitionFailed,
    UndecodableAudio,
    UploadTooLarge,
    WrenError,
)

CASES: tuple[tuple[Exception, int, str, str | None, str | None], ...] = (
    (EmptyAudio(), 400, "invalid_request_error", "file", "empty_audio"),
    (
        UndecodableAudio(container="mp4", codec="none", reason="cut off"),
        400,
        "invalid_request_error",
        "file",
        "undecodable_audio",
    ),
    (NoAudioStream(container="mp4"), 400, "invalid_request_error", "file", "no_audio_stream"),
    (AudioTooLong(limit_s=10), 413, "invalid_request_error", "file", "audio_too_long"),
    (UploadTooLarge(limit_bytes=10), 413, "invalid_request_error", "file", "file_too_large"),
    (AudioError("odd"), 400, "invalid_request_error", "file", "invalid_audio"),
    (OptionError("no", param="stream"), 400, "invalid_request_error", "stream", None),
    (InvalidKey(given=True), 401, "invalid_request_error", None, "invalid_api_key"),
    (InsufficientScope(name="a", needed="admin"), 403, "invalid_request_error", None, "insufficient_scope"),
    (NotLocal(), 403, "invalid_request_error", None, "local_only"),
    (ForeignOrigin("null"), 403, "invalid_request_error", None, "foreign_origin"),
    (ModelNotFound("x", ("y",)), 404, "invalid_request_error", "model", "model_not_found"),
    (ModelUnavailable("x", "no memory"), 503, "server_error", "model", "model_unavailable"),
    (DeviceUnavailable("x", "no GPU"), 503, "server_error", "model", "model_unavailable"),
    (NothingFits("x", reasons=("x:y needs",), ways=()), 503, "server_error", "model", "nothing_fits"),
    (NoRoom("x:y", reason="all that is there is in use"), 503, "server_error", "model", "nothing_fits"),
    (Overloaded(retry_after_s=2.5), 429, "rate_limit_error", None, "overloaded"),
    (RateLimited(Refusal("requests", "5 a minute", 2.5)), 429, "rate_limit_error", None, "rate_limit_exceeded"),
    (DeadlineExceeded(budget_s=2, asked=True), 504, "server_error", None, "deadline_exceeded"),
    (FetchFailed("refused", "no"), 400, "invalid_request_error", "url", "url_refused"),
    (FetchFailed("unreachable", "no"), 400, "invalid_request_error", "url", "url_unreachable"),
    (FetchFailed("status", "no"), 400, "invalid_request_error", "url", "url_status"),
    (RecognitionFailed("no luck"), 500, "server_error", None, "recognition_failed"),
    (JobNotFound("job_1"), 404, "invalid_request_error", None, "job_not_found"),
    (JobConflict("it runs", code="job_not_finished"), 409, "invalid_request_error", None, "job_not_finished"),
    (JobConflict("no", code="job_failed"), 409, "invalid_request_error", None, "job_failed"),
    (JobConflict("no", code="job_cancelled"), 409, "invalid_request_error", None, "job_cancelled"),
    (JobConflict("no", code="idempotency_conflict"), 409, "invalid_request_error", None, "idempotency_conflict"),
    (JobsFull("10 wait", retry_after_s=60), 429, "rate_limit_error", None, "jobs_full"),
    (JobsUnavailable("they are off"), 503, "server_error", None, "jobs_unavailable"),
    (UploadStalled(idle_s=60), 408, "invalid_request_error", "file", "upload_timeout"),
    (HTTPException(404, "no route"), 404, "invalid_request_error", None, "not_found"),
    (HTTPException(415, "no"), 415, "invalid_request_error", None, "unsupported_media_type"),
    (ZeroDivisionError("secret"), 500, "server_error", None, "internal_error"),
    (KeysFileInvalid(Path("keys.toml"), "odd"), 500, "server_error", None, None),
    (WrenError("odd"), 500, "server_error", None, None),
)


def tree(kind: type[WrenError]) -> Iterator[type[WrenError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


@pytest.mark.parametrize(("error", "status", "kind", "param", "code"), CASES, ids=lambda case: type(case).__name__)
def test_error_has_its_status_and_all_four_keys(
    error: Exception, status: int, kind: str, param: str | None, code: str | None
) -> None:
    failure = failure_of(error)
    body = failure.body().model_dump()["error"]
    assert (failure.status, body["type"], body["param"], body["code"]) == (status, kind, param, code)
    assert set(body) == {"message", "type", "param", "code"}


def test_every_class_of_the_tree_is_mapped() -> None:
    mapped = {type(error) for error, *_ in CASES}
    service = {kind for kind in tree(WrenError) if kind.__module__.startswith("service.")}
    assert service <= mapped


def test_what_is_not_foreseen_gives_nothing_away() -> None:
    assert "secret" not in failure_of(ZeroDivisionError("secret")).detail.message


def test_headers_say_when_to_come_back() -> None:
    assert failure_of(Overloaded(retry_after_s=2.5)).headers == {"Retry-After": "3", "retry-after-ms": "3000"}
    limited = failure_of(RateLimited(Refusal("requests", "5 a minute", 2.5)))
    assert limited.headers == {"Retry-After": "3", "retry-after-ms": "3000"}
    assert failure_of(Overloaded(retry_after_s=0)).headers["Retry-After"] == "1"
    assert failure_of(ModelUnavailable("x", "y")).headers == {"x-should-retry": "false"}
    assert failure_of(InvalidKey(given=False)).headers == {"WWW-Authenticate": "Bearer"}
    assert failure_of(UploadStalled(idle_s=1)).headers == {"Connection": "close"}


def test_only_a_deadline_of_the_clients_own_is_final() -> None:
    assert failure_of(DeadlineExceeded(budget_s=1, asked=True)).headers == {"x-should-retry": "false"}
    assert failure_of(DeadlineExceeded(budget_s=1, asked=False)).headers == {}
