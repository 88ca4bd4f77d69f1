"""What users do with the Realtime client of the openai SDK; run by the Python of an environment that has one.

`python -m tests.api.stream_openai_checks URL KEY TURNS PHRASE` prints what went wrong in each check. TURNS is a WAV
file at 24 kHz with a sentence about a fox, a pause, "Hello world." and a pause; PHRASE is mu-law at 8 kHz, and has the
fox. From version 2 on the SDK speaks the current dialect, before it the one of the beta.
"""

import asyncio
import sys
import wave
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import openai
from websockets.exceptions import InvalidStatus

from tests.api.checking import check, run

URL, KEY, _turns, _phrase = sys.argv[1:]
TURNS, MU_LAW_PHRASE = Path(_turns), Path(_phrase).read_bytes()
BETA = openai.__version__.startswith("1.")

SESSION_UPDATED = "transcription_session.updated" if BETA else "session.updated"
ITEM_IS_THERE = "conversation.item.created" if BETA else "conversation.item.added"
STARTED = "input_audio_buffer.speech_started"
STOPPED = "input_audio_buffer.speech_stopped"
COMMITTED = "input_audio_buffer.committed"
DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"

CLASSES = {
    "session.created": "SessionCreatedEvent",
    SESSION_UPDATED: "TranscriptionSessionUpdatedEvent" if BETA else "SessionUpdatedEvent",
    STARTED: "InputAudioBufferSpeechStartedEvent",
    STOPPED: "InputAudioBufferSpeechStoppedEvent",
    COMMITTED: "InputAudioBufferCommittedEvent",
    ITEM_IS_THERE: "ConversationItemCreatedEvent" if BETA else "ConversationItemAdded",
    DELTA: "ConversationItemInputAudioTranscriptionDeltaEvent",
    COMPLETED: "ConversationItemInputAudioTranscriptionCompletedEvent",
}
"""What the SDK makes of the events."""

SERVER_VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 400}
PCM, MU_LAW = ("pcm16", {"type": "audio/pcm", "rate": 24_000}), ("g711_ulaw", {"type": "audio/pcmu"})

CHUNK_S = 0.04
BYTES_PER_S = {PCM[0]: 48_000, MU_LAW[0]: 8_000}


def connect(key: str = KEY) -> Any:
    """A transcription session, not begun."""
    websockets_at = URL.replace("http", "ws", 1)
    client = openai.AsyncOpenAI(base_url=URL, websocket_base_url=websockets_at, api_key=key)
    if BETA:
        return client.beta.realtime.connect(model="gpt-4o-transcribe", extra_query={"intent": "transcription"})
    return client.realtime.connect(extra_query={"intent": "transcription"})


async def configure(
    connection: Any, turn_detection: Mapping[str, object] | None, layout: tuple[str, Mapping[str, object]] = PCM
) -> None:
    transcription = {"model": "whisper-1", "language": "en"}
    if BETA:
        session: dict[str, object] = {"input_audio_format": layout[0], "input_audio_transcription": transcription}
        await connection.transcription_session.update(session={**session, "turn_detection": turn_detection})
    else:
        hearing = {"format": layout[1], "transcription": transcription, "turn_detection": turn_detection}
        await connection.session.update(session={"type": "transcription", "audio": {"input": hearing}})


async def speak(connection: Any, audio: bytes, *, layout: tuple[str, Mapping[str, object]] = PCM) -> None:
    """At real-time pace."""
    clock, size = asyncio.get_running_loop(), int(CHUNK_S * BYTES_PER_S[layout[0]])
    begun = clock.time()
    for number, at in enumerate(range(0, len(audio), size)):
        await asyncio.sleep(begun + number * CHUNK_S - clock.time())
        await connection.input_audio_buffer.append(audio=b64encode(audio[at : at + size]).decode())


async def received(connection: Any, kind: str, *, times: int = 1) -> list[Any]:
    """Everything up to the last of so many events of a kind. An error that is not waited for is one."""
    events: list[Any] = []
    while sum(event.type == kind for event in events) < times:
        events.append(await connection.recv())
        assert kind == "error" or events[-1].type != "error", events[-1]
    return events


def turns() -> tuple[bytes, bytes]:
    """The sentence with the fox, and what comes after it."""
    with wave.open(str(TURNS)) as file:
        audio = file.readframes(file.getnframes())
    middle = 2 * int(0.6 * len(audio) / 2)
    return audio[:middle], audio[middle:]


def of_type(events: Sequence[Any], kind: str) -> list[Any]:
    return [event for event in events if event.type == kind]


def only(events: Sequence[Any], kind: str) -> Any:
    (event,) = of_type(events, kind)
    return event


@check
async def server_vad_hears_two_turns() -> None:
    async with connect() as connection:
        await configure(connection, SERVER_VAD)
        events, _ = await asyncio.gather(received(connection, COMPLETED, times=2), speak(connection, b"".join(turns())))
    assert [event.type for event in events[:2]] == ["session.created", SESSION_UPDATED], events
    assert len({event.event_id for event in events}) == len(events), events
    for event in events:
        assert type(event).__name__ == CLASSES.get(event.type, type(event).__name__), event
    first, second = (event.item_id for event in of_type(events, STARTED))
    assert first != second
    assert [event.previous_item_id for event in of_type(events, COMMITTED)] == [None, first], events
    for item, words in ((first, "quick brown fox"), (second, "hello world")):
        turn = [event for event in events if getattr(event, "item_id", None) == item]
        order = [event.type for event in turn if event.type != DELTA]
        assert order == [STARTED, STOPPED, COMMITTED, COMPLETED], order
        done = only(turn, COMPLETED)
        assert turn[-1] is done, turn
        assert words in done.transcript.lower(), done
        assert "".join(event.delta for event in of_type(turn, DELTA)) == done.transcript, turn
        assert (done.content_index, done.usage.type) == (0, "duration"), done
        assert only(turn, STARTED).audio_start_ms < only(turn, STOPPED).audio_end_ms, turn
    assert [event.item.id for event in of_type(events, ITEM_IS_THERE)] == [first, second], events


@check
async def session_tells_the_whole_configuration() -> None:
    async with connect() as connection:
        created = only(await received(connection, "session.created"), "session.created")
        await configure(connection, SERVER_VAD)
        session = only(await received(connection, SESSION_UPDATED), SESSION_UPDATED).session
    assert created.session.id.startswith("sess_"), created
    if BETA:
        assert session.input_audio_format == "pcm16", session
        assert session.input_audio_transcription.language == "en", session
        detection = session.turn_detection
    else:
        assert (created.session.type, session.type) == ("transcription", "transcription"), (created, session)
        assert (session.audio.input.format.type, session.audio.input.format.rate) == ("audio/pcm", 24_000), session
        assert session.audio.input.transcription.language == "en", session
        detection = session.audio.input.turn_detection
    assert detection.model_dump(include=set(SERVER_VAD)) == SERVER_VAD, detection


@check
async def commits_make_the_turns_where_detection_is_off() -> None:
    async with connect() as connection:
        await configure(connection, None)
        items: list[str] = []
        for audio, words in zip(turns(), ("quick brown fox", "hello world"), strict=True):
            await speak(connection, audio)
            await connection.input_audio_buffer.commit()
            events = await received(connection, COMPLETED)
            assert not of_type(events, STARTED), events
            committed, done = only(events, COMMITTED), only(events, COMPLETED)
            assert committed.previous_item_id == (items[-1] if items else None), events
            assert only(events, ITEM_IS_THERE).item.id == committed.item_id == done.item_id, events
            assert words in done.transcript.lower(), done
            assert "".join(event.delta for event in of_type(events, DELTA)) == done.transcript, events
            items.append(done.item_id)


@check
async def cleared_audio_is_forgotten_and_an_empty_commit_is_an_error() -> None:
    before, after = turns()
    async with connect() as connection:
        await configure(connection, None)
        await speak(connection, before)
        await connection.input_audio_buffer.clear()
        await received(connection, "input_audio_buffer.cleared")
        await connection.input_audio_buffer.commit(event_id="mine")
        refusal = (await received(connection, "error"))[-1].error
        assert (refusal.event_id, refusal.code) == ("mine", "input_audio_buffer_commit_empty"), refusal
        await speak(connection, after)
        await connection.input_audio_buffer.commit()
        text = (await received(connection, COMPLETED))[-1].transcript.lower()
    assert "hello world" in text, text
    assert "fox" not in text, text


@check
async def mu_law_of_a_telephone_is_understood() -> None:
    async with connect() as connection:
        await configure(connection, None, MU_LAW)
        await speak(connection, MU_LAW_PHRASE, layout=MU_LAW)
        await connection.input_audio_buffer.commit()
        text = (await received(connection, COMPLETED))[-1].transcript
    assert "fox" in text.lower(), text


@check
async def what_is_not_understood_is_an_error_and_the_session_goes_on() -> None:
    async with connect() as connection:
        await connection.send({"type": "no.such.event", "event_id": "strange"})
        refusal = (await received(connection, "error"))[-1].error
        assert (refusal.type, refusal.event_id) == ("invalid_request_error", "strange"), refusal
        assert refusal.message, refusal
        await configure(connection, SERVER_VAD)
        await received(connection, SESSION_UPDATED)


@check
async def wrong_key_is_refused() -> None:
    assert await refusal_of("wrong") in ("401", "invalid_api_key")


async def refusal_of(key: str) -> str | None:
    """The status of a handshake that failed, or the code of the error that was told instead."""
    try:
        async with connect(key) as connection:
            code: str = (await received(connection, "error"))[-1].error.code
            return code
    except InvalidStatus as error:
        return str(error.response.status_code)


if __name__ == "__main__":
    run()
