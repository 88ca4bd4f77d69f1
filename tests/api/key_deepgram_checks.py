"""Keys and quotas as users of the deepgram SDK meet them; run by the Python of an environment that has one.

`python -m tests.api.key_deepgram_checks URL KEY ONE_REQUEST ONE_STREAM RECORDING` prints what went wrong in each check.
Of the keys one is without limits; the others may do one request a minute, one with recordings and one with streams.
"""

import sys
from pathlib import Path
from typing import Any

from tests.api.checking import check, run
from tests.api.deepgram_clients import client_of

URL, KEY, ONE_REQUEST, ONE_STREAM, _recording = sys.argv[1:]
FILE = Path(_recording).read_bytes()
RAW: dict[str, Any] = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000, "channels": 1}


@check
async def the_right_key_is_let_in() -> None:
    answer = await client_of(URL, KEY).file(FILE, model="nova-3")
    text = answer.results.channels[0].alternatives[0].transcript
    assert "fox" in text.lower(), text


@check
async def a_wrong_key_is_refused() -> None:
    refused = await client_of(URL, "wrong").file_refusal(FILE, model="nova-3")
    assert refused == (401, "INVALID_AUTH"), refused


@check
async def a_request_too_many_is_refused() -> None:
    limited = client_of(URL, ONE_REQUEST)
    assert await limited.file_refusal(FILE, model="nova-3") is None
    refused = await limited.file_refusal(FILE, model="nova-3")
    assert refused == (429, "TOO_MANY_REQUESTS"), refused


@check
async def the_right_key_has_a_stream() -> None:
    async with client_of(URL, KEY).live(**RAW) as live:
        await live.control("CloseStream")
        assert [message.type for message in await live.rest()] == ["Results", "Metadata"]


@check
async def a_wrong_key_has_none() -> None:
    status = await client_of(URL, "wrong").live_refusal(**RAW)
    assert status == 401, status


@check
async def a_stream_too_many_is_refused() -> None:
    limited = client_of(URL, ONE_STREAM)
    async with limited.live(**RAW) as live:
        await live.control("CloseStream")
        await live.rest()
    status = await limited.live_refusal(**RAW)
    assert status == 429, status


run()
