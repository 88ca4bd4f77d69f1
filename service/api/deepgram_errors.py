"""An exception in, Deepgram's error object with its status and headers out: for `/v1/listen` alone."""

import re

from pydantic import BaseModel
from starlette.responses import JSONResponse

from service.api.errors import failure_of
from service.api.fetching import FetchFailed
from service.errors import ModelNotFound

REQUEST_ID_HEADER = "dg-request-id"
ERROR_HEADER = "dg-error"
"""Says why a WebSocket was not opened: many clients see the headers of a refusal and not its body."""

MOST_HEADER = 500
"""Characters of it: clients and proxies allow a few thousand for all headers."""

_UNFIT = re.compile(r"[^ -~]+")
"""What a header cannot hold, or not everywhere."""

CODES = {
    400: "Bad Request",
    401: "INVALID_AUTH",
    403: "INSUFFICIENT_PERMISSIONS",
    405: "METHOD_NOT_ALLOWED",
    408: "SLOW_UPLOAD",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_SERVER_ERROR",
    503: "SERVICE_UNAVAILABLE",
    504: "GATEWAY_TIMEOUT",
}
"""By status. Deepgram documents those of 400, 401, 403 and 429; the others are named alike."""


NOT_FETCHED = "REMOTE_CONTENT_ERROR"
"""Deepgram's code, with 400, for an address whose recording cannot be had."""


class RefusalBody(BaseModel):
    """What a failed request is answered with."""

    err_code: str
    err_msg: str
    request_id: str


def refusal(error: Exception, *, request_id: str) -> JSONResponse:
    """The same failure as everywhere, but that a model which is not there is a bad request, as Deepgram has it."""
    failure = failure_of(error)
    status = 400 if isinstance(error, ModelNotFound) else failure.status
    message = failure.detail.message
    code = NOT_FETCHED if isinstance(error, FetchFailed) else CODES.get(status, f"HTTP_{status}")
    body = RefusalBody(err_code=code, err_msg=message, request_id=request_id)
    named = {REQUEST_ID_HEADER: request_id, ERROR_HEADER: _UNFIT.sub("?", message)[:MOST_HEADER]}
    return JSONResponse(body.model_dump(), status, {**failure.headers, **named})
