"""An exception in, the OpenAI error object with its status and headers out. The only place that knows both."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from service.api.auth import ForeignOrigin, InsufficientScope, InvalidKey, NotLocal
from service.api.fetching import FetchFailed
from service.api.quota import RateLimited
from service.api.uploads import UploadStalled
from service.errors import (
    AudioError,
    AudioTooLong,
    DeadlineExceeded,
    EmptyAudio,
    JobConflict,
    JobNotFound,
    JobsFull,
    JobsUnavailable,
    ModelNotFound,
    ModelUnavailable,
    NoAudioStream,
    NothingFits,
    OptionError,
    Overloaded,
    RecognitionFailed,
    UndecodableAudio,
    UploadTooLarge,
    WrenError,
)

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"
RATE_LIMIT = "rate_limit_error"

DO_NOT_RETRY = {"x-should-retry": "false"}
"""SDKs would try most failures of ours twice more."""

_CLIENT_CODES: dict[int, str] = {404: "not_found", 405: "method_not_allowed", 415: "unsupported_media_type"}


class ErrorDetail(BaseModel):
    """The four keys that every client may read."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """What every failed request is answered with."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class Failure:
    """A status with its error object and headers."""

    status: int
    detail: ErrorDetail
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> ErrorBody:
        return ErrorBody(error=self.detail)

    def response(self) -> JSONResponse:
        return JSONResponse(self.body().model_dump(), self.status, dict(self.headers))


def failure_of(error: Exception) -> Failure:
    """How a client is told. What is not foreseen is a 500 that gives nothing away."""
    if isinstance(error, AudioError):
        return _audio_failure(error)
    if isinstance(error, WrenError):
        return _request_failure(error)
    if isinstance(error, HTTPException):
        kind = INVALID_REQUEST if error.status_code < 500 else SERVER_ERROR
        code = _CLIENT_CODES.get(error.status_code)
        return Failure(error.status_code, ErrorDetail(message=error.detail, type=kind, code=code), error.headers or {})
    if isinstance(error, RequestValidationError):
        field_name = str(error.errors()[0]["loc"][-1])
        return Failure(400, ErrorDetail(message=_validation_message(error), type=INVALID_REQUEST, param=field_name))
    return unforeseen()


def stopping() -> Failure:
    """The server is told to stop, and this request has not ended in the time that is left for those that run."""
    message = "The server is stopping. Send the request again, to another server or in a moment."
    detail = ErrorDetail(message=message, type=SERVER_ERROR, code="server_stopping")
    return Failure(503, detail, {"Connection": "close"})


def crowded() -> Failure:
    """As many connections are in use as may be."""
    message = "All connections that this server holds are in use (WREN_MAX_CONNECTIONS). Try again in 1 s."
    detail = ErrorDetail(message=message, type=SERVER_ERROR, code="too_many_connections")
    return Failure(503, detail, {"Retry-After": "1", "retry-after-ms": "1000", "Connection": "close"})


def unforeseen() -> Failure:
    """A fault of ours: the log has the traceback under the request's id."""
    message = "The server failed on this request. Its log says why, under the x-request-id of this response."
    return Failure(500, ErrorDetail(message=message, type=SERVER_ERROR, code="internal_error"))


def install(app: FastAPI) -> None:
    """Answer every error that reaches the app with the error object."""
    for kind in (WrenError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _respond)


async def _respond(_request: Request, error: Exception) -> JSONResponse:
    return failure_of(error).response()


_AUDIO_FAILURES: tuple[tuple[type[AudioError], int, str], ...] = (
    (UploadTooLarge, 413, "file_too_large"),
    (AudioTooLong, 413, "audio_too_long"),
    (EmptyAudio, 400, "empty_audio"),
    (NoAudioStream, 400, "no_audio_stream"),
    (UndecodableAudio, 400, "undecodable_audio"),
    (AudioError, 400, "invalid_audio"),
)


def _audio_failure(error: AudioError) -> Failure:
    status, code = next((status, code) for kind, status, code in _AUDIO_FAILURES if isinstance(error, kind))
    return Failure(status, ErrorDetail(message=str(error), type=INVALID_REQUEST, param="file", code=code))


_REQUEST_FAILURES: tuple[tuple[type[WrenError], int, str, str | None, str | None, Mapping[str, str]], ...] = (
    (InvalidKey, 401, INVALID_REQUEST, None, "invalid_api_key", {"WWW-Authenticate": "Bearer"}),
    (InsufficientScope, 403, INVALID_REQUEST, None, "insufficient_scope", {}),
    (NotLocal, 403, INVALID_REQUEST, None, "local_only", {}),
    (ForeignOrigin, 403, INVALID_REQUEST, None, "foreign_origin", {}),
    (ModelNotFound, 404, INVALID_REQUEST, "model", "model_not_found", {}),
    # What could not be loaded a moment ago will not load on the client's second try.
    (ModelUnavailable, 503, SERVER_ERROR, "model", "model_unavailable", DO_NOT_RETRY),
    (NothingFits, 503, SERVER_ERROR, "model", "nothing_fits", DO_NOT_RETRY),
    (JobNotFound, 404, INVALID_REQUEST, None, "job_not_found", {}),
    (JobsUnavailable, 503, SERVER_ERROR, None, "jobs_unavailable", DO_NOT_RETRY),
    # The rest of the body may still come, and would be taken for the next request.
    (UploadStalled, 408, INVALID_REQUEST, "file", "upload_timeout", {"Connection": "close"}),
    (RecognitionFailed, 500, SERVER_ERROR, None, "recognition_failed", {}),
    (WrenError, 500, SERVER_ERROR, None, None, {}),
)


_TOO_MUCH: Mapping[type[WrenError], str] = {
    Overloaded: "overloaded",
    JobsFull: "jobs_full",
    RateLimited: "rate_limit_exceeded",
}


def _request_failure(error: WrenError) -> Failure:
    message = str(error)
    match error:
        case OptionError():
            return Failure(400, ErrorDetail(message=message, type=INVALID_REQUEST, param=error.param))
        case FetchFailed():
            detail = ErrorDetail(message=message, type=INVALID_REQUEST, param="url", code=f"url_{error.why}")
            return Failure(400, detail)
        case JobConflict():
            return Failure(409, ErrorDetail(message=message, type=INVALID_REQUEST, code=error.code))
        case Overloaded() | JobsFull() | RateLimited():
            detail = ErrorDetail(message=message, type=RATE_LIMIT, code=_TOO_MUCH[type(error)])
            return Failure(429, detail, _after(error.retry_after_s))
        case DeadlineExceeded():
            detail = ErrorDetail(message=message, type=SERVER_ERROR, code="deadline_exceeded")
            # Who set a deadline does not want the answer after it.
            return Failure(504, detail, DO_NOT_RETRY if error.asked else {})
    _, status, kind, param, code, headers = next(row for row in _REQUEST_FAILURES if isinstance(error, row[0]))
    return Failure(status, ErrorDetail(message=message, type=kind, param=param, code=code), headers)


def _after(seconds: int) -> Mapping[str, str]:
    """The SDKs look for milliseconds first, everyone else for seconds."""
    return {"Retry-After": str(seconds), "retry-after-ms": str(1000 * seconds)}


def _validation_message(error: RequestValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
