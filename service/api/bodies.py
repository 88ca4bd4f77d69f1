"""JSON bodies and fields in, validated models out; what is wrong is an error that names the field."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from starlette.exceptions import HTTPException
from starlette.requests import Request

from service.errors import OptionError
from service.units import FOR_EVER, parse_stay_s

MOST_BYTES = 2**16
"""Of a JSON body: those here have three short fields."""

Body = TypeVar("Body", bound=BaseModel)


def read_keep_alive(value: object) -> float | None:
    """Seconds, infinite for -1; of a number or of text such as `5m`.

    Raises:
        OptionError: it is neither.
    """
    try:
        return None if value is None else parse_stay_s(FOR_EVER if value == -1 else str(value))
    except ValueError as error:
        raise OptionError(f"The field 'keep_alive': {error}.", param="keep_alive") from error


KeepAlive = Annotated[
    float | None,
    BeforeValidator(read_keep_alive),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}),
]
"""Seconds that a variant stays in memory; infinite for -1."""


async def read_json(request: Request, kind: type[Body]) -> Body:
    """The body, whatever its content type says, for `curl -d` says another; none at all is an empty object.

    Raises:
        OptionError: a field is unknown, missing, or has a wrong value.
        HTTPException: it is no JSON object, or too long.
    """
    try:
        return kind.model_validate_json(await _read(request) or b"{}")
    except ValidationError as error:
        details = error.errors()[0]
        if not details["loc"]:
            raise HTTPException(400, f"The body must be a JSON object: {details['msg']}.") from error
        raise explained(error) from error


def documented(kind: type[BaseModel]) -> dict[str, JsonSchemaValue]:
    """The body as OpenAPI has it; the routes read it themselves, so FastAPI cannot know it."""
    return {"requestBody": {"content": {"application/json": {"schema": kind.model_json_schema()}}}}


def explained(error: ValidationError) -> OptionError:
    """The first thing that is wrong."""
    details = error.errors()[0]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, OptionError):
        # Another one: raised again, that one would have as its cause what holds it, which nothing could ever free, for
        # pydantic's error is not Python's to look into.
        return OptionError(str(cause), param=cause.param)
    param = str(details["loc"][0])
    if details["type"] == "missing":
        return OptionError(f"The field '{param}' is missing.", param=param)
    if details["type"] == "extra_forbidden":
        return OptionError(f"There is no field '{param}' here.", param=param)
    where = ".".join(str(part) for part in details["loc"])
    reason = details["msg"].removeprefix("Value error, ")
    return OptionError(f"The field '{where}' is {str(details['input'])[:80]!r}: {reason}.", param=param)


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"The body is longer than {MOST_BYTES} bytes.")
    return bytes(body)
