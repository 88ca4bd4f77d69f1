"""What is read of messages that are long, or made to be costly, without a server."""

import json
from base64 import b64encode

import pytest

from service.api.realtime_asked import MAX_AUDIO_BYTES, MOST_CHARACTERS, Append, BadEvent, parse

pytestmark = pytest.mark.anyio

LONG = bytes(range(256)) * 2**13
"""2 MiB, with every letter of base64."""


def append(audio: str, **fields: object) -> str:
    return json.dumps({"event_id": "e", "type": "input_audio_buffer.append", "audio": audio, **fields})


async def heard(message: str) -> bytes:
    event = parse(message)
    assert isinstance(event, Append)
    assert event.event_id == "e"
    return await event.decoded()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 49_000, 2**18 - 1, 2**18, len(LONG) - 1, len(LONG)])
async def test_audio_of_any_length_is_what_was_sent(size: int) -> None:
    audio = LONG[:size]
    text = b64encode(audio).decode()
    assert await heard(append(text)) == audio
    assert await heard(append(text).replace("/", "\\/")) == audio
    swapped = json.dumps({"audio": text, "type": "input_audio_buffer.append", "event_id": "e"}, separators=(",", ":"))
    assert await heard(swapped) == audio


@pytest.mark.parametrize("wrong", ["%", "A", "AA==" * 2**17 + "AAAA", "A" * 2**20 + "===", "é" * 2**20, "\\" * 2**17])
async def test_what_is_not_base64_is_an_error(wrong: str) -> None:
    with pytest.raises(BadEvent) as caught:
        await heard(append(wrong))
    assert (caught.value.detail.param, caught.value.event_id) == ("audio", "e")


async def test_audio_may_be_so_long_and_no_longer() -> None:
    most = b64encode(bytes(MAX_AUDIO_BYTES)).decode()
    assert len(await heard(append(most))) == MAX_AUDIO_BYTES
    with pytest.raises(BadEvent, match="more than"):
        await heard(append(most + "AAAA"))


NUMBERS = [1] * MOST_CHARACTERS
TEXT = "a" * MOST_CHARACTERS


@pytest.mark.parametrize(
    "message",
    [
        json.dumps({"type": "session.update", "session": {"audio": {"input": {"keywords": NUMBERS}}}}),
        json.dumps({"type": "input_audio_buffer.append", "audio": NUMBERS}),
        json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA", "more": NUMBERS}),
        json.dumps({"type": "input_audio_buffer.append", "more": TEXT, "audio": "AAAA"}),
        json.dumps({"type": "input_audio_buffer.append", "event_id": TEXT}),
        json.dumps({"type": "input_audio_buffer.commit", "audio": TEXT}),
        '{"type": "input_audio_buffer.append", "audio": "' + TEXT,
        '{"audio": "' * MOST_CHARACTERS,
        TEXT,
        " " * MOST_CHARACTERS + "{}",
    ],
)
def test_long_text_is_refused_unless_audio_is_what_makes_it_long(message: str) -> None:
    with pytest.raises(BadEvent) as caught:
        parse(message)
    assert caught.value.detail.code == "invalid_event"


@pytest.mark.parametrize("listed", ["keywords", "languages"])
def test_of_a_list_the_first_fault_is_enough(listed: str) -> None:
    for items in ([1] * 20_000, ["en"] * 1_001):
        message = json.dumps(
            {"type": "session.update", "session": {"audio": {"input": {"transcription": {listed: items}}}}}
        )
        with pytest.raises(BadEvent) as caught:
            parse(message)
        assert listed in str(caught.value.detail.param)
