"""Sessions whose recognition is a script: its text tells how many samples it was given."""

import asyncio
from itertools import pairwise

import pytest

from service.audio.types import SAMPLE_RATE, RawFormat, VadOptions
from service.engine.observing import Unobserved
from service.engine.session import Session
from service.engine.streaming import (
    Cleared,
    Final,
    Interim,
    SpeechStarted,
    SpeechStopped,
    StreamRequest,
    UtteranceEnded,
)
from service.errors import OptionError, RecognitionFailed, UndecodableAudio
from service.recognition.types import Options
from tests.audio.speech import detector
from tests.engine.hosting import eventually
from tests.engine.recordings import silence
from tests.engine.sessions import (
    FOX_S,
    MANIFEST,
    RAW,
    Scripted,
    Taking,
    finals,
    fox,
    heard,
    hello,
    long_speech,
    paced,
    pcm,
    session_of,
    talk,
    threads,
    tile,
    told,
)

pytestmark = pytest.mark.anyio


async def test_finals_lie_end_to_end_and_cover_the_stream() -> None:
    events = await heard(talk(), by=3200)
    assert tile(events, len(talk()) / 2 / SAMPLE_RATE)
    assert [final.cut for final in finals(events)] == ["pause", "pause", "pause", "end"]
    assert [bool(final.text) for final in finals(events)] == [True, True, True, False]
    assert finals(events)[0].manifest == MANIFEST
    assert finals(events)[-1].manifest is None


async def test_turns_are_told_before_their_finals() -> None:
    events = [event for event in await heard(talk(), by=3200) if not isinstance(event, Interim)]
    kinds = [type(event) for event in events]
    assert kinds == [SpeechStarted, SpeechStopped, Final] * 3 + [Final]
    times = [event.at_s for event in events if isinstance(event, SpeechStarted | SpeechStopped)]
    assert times == sorted(times)
    assert times[0] == pytest.approx(0.7, abs=0.2)


@pytest.mark.parametrize("by", [2, 14, 320, 1023, 3200, 32_000])
async def test_finals_do_not_depend_on_how_the_stream_was_split(by: int) -> None:
    audio = talk() if by > 2 else fox()
    assert told(await heard(audio, by=by)) == told(await heard(audio))


async def test_text_lies_where_it_was_heard() -> None:
    for final in finals(await heard(talk())):
        for segment in final.segments:
            assert final.start_s <= segment.start_s < segment.end_s <= final.end_s + 1e-6
            assert segment.end_s - segment.start_s == pytest.approx(int(segment.text) / SAMPLE_RATE)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 5.0, 40.0])
async def test_silence_says_nothing(seconds: float) -> None:
    events = await heard(pcm(silence(seconds)), by=3200)
    (final,) = finals(events)
    assert events == [final]
    assert (final.start_s, final.cut, final.text) == (0.0, "end", "")
    assert final.end_s == pytest.approx(seconds)


async def test_what_is_asked_for_ends_at_that_very_sample() -> None:
    async with session_of() as session:
        taking, at = Taking(session), 2 * 12_345
        await session.feed(fox()[:at])
        await session.commit()
        await session.feed(fox()[at:])
        await session.finish()
        asked, end = finals(await taking.end())
        assert (asked.cut, asked.end_s) == ("asked", 12_345 / SAMPLE_RATE)
        assert asked.text
        assert (end.cut, end.start_s, end.end_s) == ("end", asked.end_s, FOX_S)


async def test_asking_twice_is_answered_twice() -> None:
    async with session_of() as session:
        taking = Taking(session)
        await session.feed(fox())
        await session.commit()
        await session.commit()
        await session.finish()
        first, second, end = finals(await taking.end())
        assert (first.end_s, second.start_s, second.end_s, end.end_s) == (FOX_S,) * 4
        assert (first.cut, second.cut, end.cut) == ("asked", "asked", "end")
        assert (bool(first.text), second.text, end.text) == (True, "", "")


async def test_asking_without_any_audio_is_answered() -> None:
    async with session_of() as session:
        taking = Taking(session)
        await session.commit()
        await taking.until(Final)
        await session.finish()
        asked, end = finals(await taking.end())
        assert (asked.cut, asked.end_s, end.cut, end.end_s) == ("asked", 0.0, "end", 0.0)


async def test_what_is_cleared_is_in_no_final() -> None:
    async with session_of() as session:
        taking = Taking(session)
        await session.feed(fox())
        await session.clear()
        await session.feed(pcm(silence(1.0)))
        await session.finish()
        events = await taking.end()
        assert Cleared(FOX_S) in events
        (final,) = finals(events)
        assert (final.start_s, final.text) == (FOX_S, "")


async def test_the_tail_is_said_at_the_end() -> None:
    (final,) = finals(await heard(fox()[: len(fox()) * 2 // 3]))
    assert final.cut == "end"
    assert final.text


async def test_what_fails_is_told_and_the_stream_goes_on() -> None:
    recognition = Scripted()
    recognition.failures = [RecognitionFailed("the model's output is not a number")]
    async with session_of(recognition) as session:
        taking = Taking(session)
        await session.feed(talk())
        await session.finish()
        first, *others = finals(await taking.end())
        assert isinstance(first.failure, RecognitionFailed)
        assert (first.text, first.cut) == ("", "pause")
        assert all(final.failure is None for final in others)
        assert sum(bool(final.text) for final in others) == 2


async def test_a_stream_whose_audio_cannot_be_decoded_ends_with_what_is_wrong() -> None:
    async with session_of(request=StreamRequest()) as session:
        taking = Taking(session)
        await session.feed(b"this is no recording at all, whatever its name may say" * 100)
        await session.finish()
        with pytest.raises(UndecodableAudio):
            await taking.end()


async def test_a_container_without_a_byte_is_silence() -> None:
    assert [final.cut for final in finals(await heard(b"", request=StreamRequest()))] == ["end"]
    async with session_of(request=StreamRequest()) as session:
        taking = Taking(session)
        await session.commit()
        await session.clear()
        await session.finish()
        asked, forgotten, end = await taking.end()
        assert (asked, forgotten, end) == (Final(0.0, 0.0, (), "asked"), Cleared(0.0), Final(0.0, 0.0, (), "end"))


async def test_interims_follow_the_speech_and_what_is_settled_only_grows() -> None:
    recognition = Scripted()
    async with session_of(recognition) as session:
        taking = Taking(session)
        await paced(session, long_speech()[:112_000], taking, until=Interim, count=4)
        await session.finish()
        interims = [event for event in await taking.end() if isinstance(event, Interim)]
        ends = [interim.end_s for interim in interims]
        assert ends == sorted(ends)
        for before, now in pairwise(interims):
            assert now.settled.startswith(before.settled)
        for interim in interims:
            assert interim.text.startswith(interim.settled)
        assert len(interims[-1].settled.split()) > 2
        assert recognition.known == sorted(recognition.known)


async def test_interims_are_let_be_while_the_machine_is_strained() -> None:
    recognition = Scripted()
    recognition.busy = True
    async with session_of(recognition) as session:
        taking = Taking(session)
        await paced(session, long_speech()[:48_000], taking, until=SpeechStarted, count=1)
        assert not recognition.drafts
        recognition.busy = False
        await paced(session, long_speech()[48_000:112_000], taking, until=Interim, count=1)


async def test_interims_that_nobody_wants_are_not_made() -> None:
    recognition = Scripted()
    async with session_of(recognition, StreamRequest(raw=RAW, interims=False)) as session:
        taking = Taking(session)
        await paced(session, fox() + pcm(silence(0.7)), taking, until=Final, count=1)
        await session.finish()
        assert not any(isinstance(event, Interim) for event in await taking.end())
        assert not recognition.drafts


async def test_long_speech_is_cut_and_stays_one_turn() -> None:
    events = await heard(long_speech(), by=3200)
    assert tile(events, len(long_speech()) / 2 / SAMPLE_RATE)
    assert [final.cut for final in finals(events)][:-1] == ["length"] * (len(finals(events)) - 1)
    assert len(finals(events)) > 1
    assert sum(isinstance(event, SpeechStarted) for event in events) == 1


async def test_a_pause_ends_no_turn_where_turns_are_not_wanted() -> None:
    events = await heard(talk(), request=StreamRequest(raw=RAW, turns=False))
    assert {final.cut for final in finals(events)} == {"length", "end"}


async def test_a_client_that_takes_nothing_makes_the_stream_wait_until_it_does() -> None:
    recognition = Scripted()
    async with session_of(recognition) as session:
        fed = 0

        async def feed() -> None:
            nonlocal fed
            for _ in range(60):
                await session.feed(talk())
                fed += 1
            await session.finish()

        feeding = asyncio.create_task(feed())
        await eventually(lambda: session._pipe.full)
        await asyncio.sleep(0.05)
        held = fed
        assert held < 30
        assert len(recognition.requests) <= 32
        await asyncio.sleep(0.05)
        assert fed == held
        events = [event async for event in session.events()]
        await feeding
        assert tile(events, 60 * len(talk()) / 2 / SAMPLE_RATE)


async def test_closing_in_the_midst_of_everything_leaves_nothing() -> None:
    threads_before, tasks_before = threads(), len(asyncio.all_tasks())
    recognition = Scripted()
    recognition.gate = asyncio.Event()
    request = StreamRequest(raw=RAW, options=Options(language="en"))
    session = Session(recognition, detector(), request, Unobserved())
    taking = Taking(session)
    feeding = asyncio.create_task(session.feed(talk() * 40))
    await feeding
    blocked = asyncio.create_task(session.feed(talk()))
    await eventually(lambda: len(recognition.requests) > 1)
    assert threads() == threads_before + 1
    taking._task.cancel()
    await session.close()
    async with asyncio.timeout(1):
        await blocked
    await eventually(lambda: threads() == threads_before and len(asyncio.all_tasks()) == tasks_before)
    await session.feed(b"\0\0")


async def test_a_gap_without_a_word_is_told_once() -> None:
    request = StreamRequest(raw=RAW, utterance_gap_s=1.5)
    audio = fox() + pcm(silence(5.0)) + fox() + pcm(silence(1.0)) + fox() + pcm(silence(5.0))
    events = await heard(audio, by=3200, request=request)
    gaps = [event for event in events if isinstance(event, UtteranceEnded)]
    texts = [final for final in finals(events) if final.text]
    assert [gap.last_word_s for gap in gaps] == [texts[0].segments[-1].end_s, texts[2].segments[-1].end_s]


async def test_silence_is_heard_on_while_a_final_is_in_work() -> None:
    recognition = Scripted()
    recognition.gate = asyncio.Event()
    async with session_of(recognition, StreamRequest(raw=RAW, utterance_gap_s=1.5)) as session:
        taking = Taking(session)
        await session.feed(fox() + pcm(silence(10.0)) + hello())
        await eventually(lambda: len(recognition.requests) == 1 and session._pipe.buffered_bytes == 0)
        recognition.gate.set()
        await session.finish()
        kinds = [type(event) for event in await taking.end() if not isinstance(event, Interim)]
        turn = [SpeechStarted, SpeechStopped, Final]
        assert kinds == [*turn, UtteranceEnded, *turn]


async def test_the_layout_cannot_change_once_audio_was_sent() -> None:
    async with session_of() as session:
        await session.configure(StreamRequest(raw=RawFormat("mulaw", 8000)))
        await session.configure(StreamRequest(raw=RAW))
        await session.feed(fox())
        with pytest.raises(OptionError, match="layout"):
            await session.configure(StreamRequest(raw=RawFormat("mulaw", 8000)))


async def test_what_the_model_cannot_do_is_refused_and_nothing_changes() -> None:
    async with session_of() as session:
        options = StreamRequest().options
        with pytest.raises(OptionError, match="xx"):
            await session.configure(StreamRequest(raw=RAW, options=Options(language="xx")))
        assert session._request.options == options


async def test_a_segment_ends_with_a_second_of_silence_though_the_turn_may_go_on() -> None:
    request = StreamRequest(raw=RAW, vad=VadOptions(silence_duration_ms=2000))
    events = await heard(fox() + pcm(silence(3.0)), request=request)
    assert [(final.cut, bool(final.text)) for final in finals(events)] == [
        ("length", True),
        ("pause", False),
        ("end", False),
    ]


async def test_settings_hold_for_what_comes_after_them() -> None:
    recognition = Scripted()
    async with session_of(recognition) as session:
        taking = Taking(session)
        await session.feed(fox() + pcm(silence(1.0)))
        await session.configure(StreamRequest(raw=RAW, options=Options(hotwords=("later",))))
        await session.feed(fox() + pcm(silence(1.0)))
        await session.finish()
        await taking.end()
    asked = [request.options.hotwords for request in recognition.requests if request.priority == "live"]
    assert (asked[0], asked[-1]) == ((), ("later",))


async def test_orders_wait_for_room_as_audio_does() -> None:
    async with session_of() as session:
        flood = asyncio.create_task(_cleared(session, 10_000))
        await asyncio.sleep(0.05)
        assert not flood.done()
        flood.cancel()


async def _cleared(session: Session, times: int) -> None:
    for _ in range(times):
        await session.clear()


async def test_other_rules_hold_from_the_next_sample_on() -> None:
    async with session_of() as session:
        taking = Taking(session)
        await session.feed(fox() + pcm(silence(1.0)))
        await session.configure(StreamRequest(raw=RAW, vad=VadOptions(silence_duration_ms=3000)))
        await session.feed(fox() + pcm(silence(0.2)))
        await session.finish()
        assert [final.cut for final in finals(await taking.end())] == ["pause", "end"]


async def test_more_padding_than_was_kept_is_as_much_as_there_is() -> None:
    async with session_of() as session:
        taking = Taking(session)
        await session.feed(pcm(silence(20.0)))
        await session.configure(StreamRequest(raw=RAW, vad=VadOptions(prefix_padding_ms=10_000)))
        await session.feed(fox())
        await session.finish()
        (final,) = finals(await taking.end())
        assert FOX_S * SAMPLE_RATE < int(final.text) < (FOX_S + 1.0) * SAMPLE_RATE


async def test_the_language_of_the_first_text_is_that_of_the_stream() -> None:
    recognition = Scripted()
    recognition.languages = ["de", "fr", "it"]
    async with session_of(recognition) as session:
        taking = Taking(session)
        await session.feed(talk())
        await session.finish()
        await taking.end()
        assert [request.options.language for request in recognition.requests] == [None, "de", "de"]


async def test_a_pause_that_does_not_last_tells_nothing_of_the_language() -> None:
    """Whether it was recognised in time depends on the clock, which the finals must not."""
    recognition = Scripted()
    recognition.languages = ["de", "fr"]
    request = StreamRequest(raw=RAW, vad=VadOptions(silence_duration_ms=900))
    async with session_of(recognition, request) as session:
        taking = Taking(session)
        await session.feed(hello() + pcm(silence(0.5)))
        await eventually(lambda: len(recognition.requests) == 1)
        await asyncio.sleep(0.02)
        await session.feed(hello() + pcm(silence(2.0)))
        await session.finish()
        first, _ = finals(await taking.end())
        assert first.languages[0].code == "fr"
        assert [request.options.language for request in recognition.requests] == [None, None]
