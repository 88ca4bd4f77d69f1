"""What users do with the deepgram SDK; run by the Python of an environment that has some version of it.

`python -m tests.api.stream_deepgram_checks URL KEY TURNS` prints what went wrong in each check. TURNS is a WAV file at
16 kHz with a sentence about a fox, a pause, "Hello world." and a pause.
"""

import asyncio
import sys
import wave
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.api.checking import check, run
from tests.api.deepgram_clients import Live, client_of

URL, KEY, _turns = sys.argv[1:]
FILE = Path(_turns).read_bytes()
RATE = 16_000
CLIENT = client_of(URL, KEY)
RAW = {"model": "nova-3", "language": "en", "encoding": "linear16", "sample_rate": RATE, "channels": 1}

NEAR_S = 1e-3
"""Times are told to the millisecond, or better."""


def turns() -> tuple[bytes, bytes]:
    """The sentence with the fox, and what comes after it."""
    with wave.open(BytesIO(FILE)) as file:
        audio = file.readframes(file.getnframes())
    middle = 2 * int(0.6 * len(audio) / 2)
    return audio[:middle], audio[middle:]


def seconds(audio: bytes) -> float:
    return len(audio) / 2 / RATE


async def speak(live: Live, audio: bytes, *, chunk_s: float) -> None:
    """At real-time pace."""
    clock, size = asyncio.get_running_loop(), 2 * int(chunk_s * RATE)
    begun = clock.time()
    for number, at in enumerate(range(0, len(audio), size)):
        await asyncio.sleep(begun + number * chunk_s - clock.time())
        await live.send(audio[at : at + size])


def kinds(messages: Sequence[Any]) -> list[str]:
    return [message.type for message in messages]


def results(messages: Sequence[Any], *, final: bool) -> list[Any]:
    return [message for message in messages if message.type == "Results" and bool(message.is_final) == final]


def text(result: Any) -> str:
    transcript: str = result.channel.alternatives[0].transcript
    return transcript


def assert_tile(finals: Sequence[Any], duration_s: float) -> None:
    """They lie end to end and cover all of it, and so do not the words of one reach into another."""
    end_s = 0.0
    for final in finals:
        assert abs(final.start - end_s) < NEAR_S, finals
        end_s = final.start + final.duration
        times = [time for word in final.channel.alternatives[0].words for time in (word.start, word.end)]
        assert times == sorted(times), final
        assert all(final.start - NEAR_S <= time <= end_s + NEAR_S for time in times), final
    assert abs(end_s - duration_s) < NEAR_S, finals


@check
async def speech_is_followed_and_finals_tile_the_audio() -> None:
    audio = b"".join(turns())
    following = {"interim_results": True, "vad_events": True, "endpointing": 400, "utterance_end_ms": 1000}
    async with CLIENT.live(**RAW, **following) as live:
        await speak(live, audio, chunk_s=0.05)
        await live.control("CloseStream")
        messages = await live.rest()
    finals, interims = results(messages, final=True), results(messages, final=False)
    assert_tile(finals, seconds(audio))
    spoken = " ".join(text(final) for final in finals).lower()
    assert "quick brown fox" in spoken, spoken
    assert "hello world" in spoken, spoken
    first_final = next(final for final in finals if text(final))
    first_interim = next(interim for interim in interims if text(interim))
    assert messages.index(first_interim) < messages.index(first_final), messages
    assert "fox" in text(first_final).lower(), first_final
    assert first_final.speech_final, first_final
    assert not any(interim.speech_final for interim in interims), interims
    assert sum(bool(final.speech_final) for final in finals) >= 2, finals
    word = first_final.channel.alternatives[0].words[0]
    assert (word.word, word.punctuated_word) == (word.word.lower(), text(first_final).split()[0]), word
    assert 0 < word.confidence <= 1, word
    assert first_final.channel_index == [0, 1], first_final
    assert first_final.metadata.model_info.name, first_final


@check
async def speech_started_and_utterance_end_are_told() -> None:
    audio = b"".join(turns())
    async with CLIENT.live(**RAW, interim_results=True, vad_events=True, utterance_end_ms=1000) as live:
        await speak(live, audio, chunk_s=0.1)
        await live.control("CloseStream")
        messages = await live.rest()
    assert kinds(messages).count("SpeechStarted") == 2, kinds(messages)
    started = next(message for message in messages if message.type == "SpeechStarted")
    assert started.channel == [0, 1], started
    assert 0 <= started.timestamp < 1, started
    with_text = next(message for message in messages if message.type == "Results" and text(message))
    assert messages.index(started) < messages.index(with_text), messages
    ended = next(message for message in messages if message.type == "UtteranceEnd")
    before = [final for final in results(messages[: messages.index(ended)], final=True) if text(final)]
    assert abs(before[-1].channel.alternatives[0].words[-1].end - ended.last_word_end) < NEAR_S, (before, ended)


@check
async def metadata_is_the_last_that_is_told() -> None:
    phrase, _ = turns()
    async with CLIENT.live(**RAW) as live:
        await speak(live, phrase, chunk_s=0.02)
        await live.control("CloseStream")
        messages = await live.rest()
    assert set(kinds(messages)) == {"Results", "Metadata"}, kinds(messages)
    assert kinds(messages).count("Metadata") == 1, kinds(messages)
    metadata = messages[-1]
    assert metadata.type == "Metadata", kinds(messages)
    assert abs(metadata.duration - seconds(phrase)) < NEAR_S, metadata
    assert (metadata.channels, metadata.sha256) == (1, sha256(phrase).hexdigest()), metadata
    assert {message.metadata.request_id for message in messages[:-1]} == {metadata.request_id}, messages
    assert not results(messages, final=False), messages
    assert_tile(results(messages, final=True), seconds(phrase))
    assert "fox" in " ".join(map(text, messages[:-1])).lower(), messages


@check
async def finalize_is_answered_and_the_stream_goes_on() -> None:
    before, after = turns()
    async with CLIENT.live(**RAW, interim_results=True, endpointing=False) as live:
        await speak(live, before, chunk_s=0.1)
        await live.control("Finalize")
        messages = await live.until(lambda message: bool(getattr(message, "from_finalize", False)))
        assert "fox" in " ".join(map(text, results(messages, final=True))).lower(), messages
        assert_tile(results(messages, final=True), seconds(before))
        await speak(live, after, chunk_s=0.1)
        await live.control("CloseStream")
        messages += await live.rest()
    finals = results(messages, final=True)
    assert_tile(finals, seconds(before + after))
    assert sum(bool(final.from_finalize) for final in finals) == 1, finals
    assert "hello world" in " ".join(map(text, finals)).lower(), finals


@check
async def keep_alive_is_not_answered_and_is_no_audio() -> None:
    _, phrase = turns()
    async with CLIENT.live(**RAW) as live:
        await live.control("KeepAlive")
        await speak(live, phrase, chunk_s=0.02)
        for _ in range(3):
            await live.control("KeepAlive")
        await live.control("CloseStream")
        messages = await live.rest()
    assert set(kinds(messages)) == {"Results", "Metadata"}, kinds(messages)
    assert_tile(results(messages, final=True), seconds(phrase))
    assert abs(messages[-1].duration - seconds(phrase)) < NEAR_S, messages[-1]


@check
async def file_is_transcribed_in_one_request() -> None:
    answer = await CLIENT.file(FILE, model="nova-3", smart_format=True, utterances=True)
    found = answer.results.channels[0].alternatives[0]
    assert "quick brown fox" in found.transcript.lower(), found
    assert "hello world" in found.transcript.lower(), found
    assert abs(answer.metadata.duration - seconds(b"".join(turns()))) < NEAR_S, answer.metadata
    assert answer.metadata.sha256 == sha256(FILE).hexdigest(), answer.metadata
    assert (answer.metadata.channels, len(answer.metadata.models)) == (1, 1), answer.metadata
    assert " ".join(word.punctuated_word for word in found.words) == found.transcript, found
    first, *_, last = answer.results.utterances
    assert "fox" in first.transcript.lower(), first
    assert "world" in last.transcript.lower(), last
    assert first.end <= last.start, answer.results.utterances


@check
async def wrong_key_is_refused() -> None:
    stranger = client_of(URL, "wrong")
    assert await stranger.live_refusal(**RAW) == 401
    assert await stranger.file_refusal(FILE, model="nova-3") == (401, "INVALID_AUTH")


if __name__ == "__main__":
    run()
