"""Statuses in, the entries of the OpenAPI description out that say what comes with them; and its last touches.

A route that needs a key takes `responses=GUARDED`, one that reads audio adds `UPLOADED`, one with options or a body of
its own `ASKED`; `failures(409)` is for what only one route has. What the description has of itself and is not so, the
422 of FastAPI, is taken out by `describe`.
"""

from collections.abc import Mapping

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue

from service.api.errors import ErrorBody

Responses = dict[int | str, JsonSchemaValue]
"""What FastAPI takes as the `responses` of a route."""

MEANINGS: Mapping[int, str] = {
    400: "A field, a parameter or the audio cannot be used; `param` names it.",
    401: "No API key was sent, or one that is not valid here.",
    403: "The key may not do this, or without keys somebody from elsewhere may not.",
    404: "There is no such model, variant or object here.",
    405: "The route takes other methods.",
    408: "The upload stopped half-way.",
    409: "It does not go with the state that the object is in.",
    413: "The upload is too large, or the audio too long.",
    415: "The body has another content type, or is compressed.",
    429: "Too much is asked at once; `Retry-After` says when to come back.",
    500: "The server failed; its log says why, under the `x-request-id` of the response.",
    503: "It cannot be served now: the model cannot be loaded, or the server is full or stopping.",
    504: "The transcript was not ready in time.",
}
"""In the words of a client; every status that a route can answer a failed request with."""


def failures(*statuses: int, body: type[BaseModel] = ErrorBody) -> Responses:
    """The entries of these statuses, each with the same body."""
    return {status: {"model": body, "description": MEANINGS[status]} for status in statuses}


GUARDED = failures(401, 403, 429, 500, 503)
"""Of every route that needs a key."""

ASKED = failures(400, 404)
"""Of every route that has options, a name in its path, or a body."""

UPLOADED = failures(400, 404, 408, 413, 415, 503, 504)
"""Of every route that takes audio and answers what was said."""

LOADED = failures(503)
"""Of every route that may have to load a model."""

TEXT: JsonSchemaValue = {"schema": {"type": "string"}}
"""The content of an answer that is text."""

EVENTS: JsonSchemaValue = {
    "schema": {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]},
}
"""The content of an answer that is server-sent events: what is said of each."""

_SCHEME = "API key"


def describe(app: FastAPI) -> None:
    """Have the description say what is so: the statuses of each route, and that a key is sent as a bearer token."""
    made_by_fastapi = app.openapi

    def openapi() -> JsonSchemaValue:
        if app.openapi_schema is None:
            _correct(made_by_fastapi())
        return made_by_fastapi()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _correct(schema: JsonSchemaValue) -> None:
    components = schema.setdefault("components", {})
    components["securitySchemes"] = {_SCHEME: {"type": "http", "scheme": "bearer"}}
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    for path in schema["paths"].values():
        for operation in path.values():
            _correct_operation(operation)


def _correct_operation(operation: JsonSchemaValue) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # what FastAPI would answer, and errors.py answers with 400
    if "401" in responses:
        operation["security"] = [{_SCHEME: []}]
