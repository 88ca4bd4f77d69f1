"""Keys and quotas as users of the openai SDK meet them; run by the Python of an environment that has one.

`python -m tests.api.key_openai_checks URL KEY ONE_REQUEST ONE_STREAM RECORDING` prints what went wrong in each check.
Of the keys one is without limits; the others may do one request a minute, one with recordings and one with streams.
"""

import sys
from pathlib import Path
from typing import Any

import openai
from websockets.exceptions import ConnectionClosed

from tests.api.checking import check, run

URL, KEY, ONE_REQUEST, ONE_STREAM, _recording = sys.argv[1:]
RECORDING = Path(_recording)
BETA = openai.__version__.startswith("1.")


def transcriptions(key: str) -> Any:
    return openai.OpenAI(base_url=URL, api_key=key, max_retries=0).audio.transcriptions


def session(key: str) -> Any:
    """Of live transcription, not begun."""
    client = openai.AsyncOpenAI(base_url=URL, websocket_base_url=URL.replace("http", "ws", 1), api_key=key)
    if BETA:
        return client.beta.realtime.connect(model="gpt-4o-transcribe", extra_query={"intent": "transcription"})
    return client.realtime.connect(extra_query={"intent": "transcription"})


async def refusal(connection: Any) -> tuple[str, int]:
    """The code of the error, and that of the close."""
    event = await connection.recv()
    assert event.type == "error", event
    close = await closed(connection)
    assert close.reason == event.error.message, close
    return event.error.code, close.code


async def closed(connection: Any) -> Any:
    try:
        told = await connection.recv()
    except ConnectionClosed as error:
        return error.rcvd
    raise AssertionError(told)


def failed(key: str) -> openai.APIStatusError:
    """How a request with this key is refused."""
    try:
        transcriptions(key).create(file=RECORDING, model="whisper-1")
    except openai.APIStatusError as error:
        return error
    raise AssertionError("it was let in")


@check
def the_right_key_is_let_in() -> None:
    text = transcriptions(KEY).create(file=RECORDING, model="whisper-1").text
    assert "fox" in text.lower(), text


@check
def a_wrong_key_is_an_authentication_error() -> None:
    error = failed("wrong")
    assert isinstance(error, openai.AuthenticationError), error
    assert (error.status_code, error.code) == (401, "invalid_api_key"), error


@check
def a_request_too_many_is_a_rate_limit_error_with_the_time_to_come_back() -> None:
    headers = transcriptions(ONE_REQUEST).with_raw_response.create(file=RECORDING, model="whisper-1").headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("1", "0"), headers
    error = failed(ONE_REQUEST)
    assert isinstance(error, openai.RateLimitError), error
    assert (error.status_code, error.code) == (429, "rate_limit_exceeded"), error
    assert "limited to 1 a minute" in error.message, error
    assert 1 <= int(error.response.headers["retry-after"]) <= 60, error.response.headers


@check
async def the_right_key_has_a_session() -> None:
    async with session(KEY) as connection:
        event = await connection.recv()
        assert event.type == "session.created", event


@check
async def a_wrong_key_has_none() -> None:
    async with session("wrong") as connection:
        assert await refusal(connection) == ("invalid_api_key", 1008)


@check
async def a_session_too_many_is_told_and_closed() -> None:
    async with session(ONE_STREAM) as connection:
        event = await connection.recv()
        assert event.type == "session.created", event
    async with session(ONE_STREAM) as connection:
        assert await refusal(connection) == ("rate_limit_exceeded", 1013)


run()
