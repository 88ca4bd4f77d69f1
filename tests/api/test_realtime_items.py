"""Which events a stream leads to, without a server."""

from dataclasses import replace

import pytest

from service.api.realtime_items import Items
from service.api.realtime_told import Completed, Delta, Failed, ServerEvent
from service.audio.endpoint import Cut
from service.engine.fake import model_info
from service.engine.streaming import Cleared, Final, Interim, SpeechStarted, SpeechStopped, StreamEvent
from service.errors import RecognitionFailed
from service.recognition.types import Segment
from tests.api.speech import segment

MANIFEST = model_info("fake", "fp32").manifest


def final(text: str, start_s: float, end_s: float, cut: Cut = "pause") -> Final:
    return Final(start_s, end_s, _segments(text, start_s, end_s), cut, manifest=MANIFEST if text else None)


def interim(settled: str, start_s: float, end_s: float) -> Interim:
    return Interim(start_s, end_s, _segments(settled or "…", start_s, end_s), settled, MANIFEST)


def _segments(text: str, start_s: float, end_s: float) -> tuple[Segment, ...]:
    return (segment(text, start_s, end_s),) if text else ()


def told(*events: StreamEvent, items: Items | None = None) -> list[ServerEvent]:
    items = items or Items()
    return [one for event in events for one in items.told(event)]


def kinds(events: list[ServerEvent]) -> list[str]:
    short = {"input_audio_buffer": "buffer", "conversation.item.input_audio_transcription": "text"}
    names = [str(event.model_dump()["type"]) for event in events]
    for long, name in short.items():
        names = [one.replace(long, name) for one in names]
    return names


def transcripts(events: list[ServerEvent]) -> list[str]:
    return [event.transcript for event in events if isinstance(event, Completed)]


def deltas(events: list[ServerEvent]) -> list[str]:
    return [event.delta for event in events if isinstance(event, Delta)]


TURN = (SpeechStarted(0.5), interim("The", 0.0, 1.0), SpeechStopped(3.0), final("The fox.", 0.0, 3.5))


def test_a_turn_is_an_item_from_its_first_sound_to_its_transcript() -> None:
    events = told(*TURN)
    assert kinds(events) == [
        "buffer.speech_started",
        "text.delta",
        "buffer.speech_stopped",
        "buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "text.delta",
        "text.completed",
    ]
    ids = {event.model_dump().get("item_id") or event.model_dump()["item"]["id"] for event in events}
    assert len(ids) == 1
    assert (events[0].model_dump()["audio_start_ms"], events[2].model_dump()["audio_end_ms"]) == (500, 3000)
    assert transcripts(events) == ["The fox."]


def test_older_clients_are_told_of_an_item_once() -> None:
    names = kinds(told(*TURN, items=Items(older=True)))
    assert [name for name in names if name.startswith("conversation.item")] == ["conversation.item.created"]


def test_event_ids_are_unique() -> None:
    events = told(*TURN)
    assert len({event.event_id for event in events}) == len(events)


def test_silence_is_nothing_at_all() -> None:
    assert told(final("", 0, 30, "length"), final("", 30, 60, "length"), final("", 60, 61, "end")) == []


def test_speech_without_words_is_an_empty_transcript() -> None:
    assert transcripts(told(SpeechStarted(0.5), SpeechStopped(1.0), final("", 0, 1.5))) == [""]


@pytest.mark.parametrize("text", ["The quick brown fox.", "A quick brown fox.", "The quick", "Thequick", ""])
def test_transcript_is_the_sum_of_the_deltas_whatever_the_final_says(text: str) -> None:
    events = told(
        SpeechStarted(0), interim("The", 0, 1), interim("The quick", 0, 2), SpeechStopped(3), final(text, 0, 3)
    )
    assert deltas(events)[:2] == ["The", " quick"]
    assert transcripts(events) == ["".join(deltas(events))]


def test_settled_text_that_is_not_as_it_was_is_not_sent() -> None:
    events = told(SpeechStarted(0), interim("The quick", 0, 1), interim("A quick brown", 0, 2))
    assert deltas(events) == ["The quick"]


def test_a_turn_that_grew_too_long_is_one_item() -> None:
    events = told(
        SpeechStarted(0.5),
        final("The quick brown", 0, 20, "length"),
        interim("fox", 20, 21),
        SpeechStopped(22),
        final("fox jumps.", 20, 22.5),
    )
    assert deltas(events) == ["The quick brown", " fox", " jumps."]
    assert transcripts(events) == ["The quick brown fox jumps."]
    (completed,) = [event for event in events if isinstance(event, Completed)]
    assert completed.usage.seconds == 22.5


def test_scripts_without_spaces_get_none_between_segments() -> None:
    chinese = replace(segment("狐狸", 0, 1), text="狐狸")
    first = Final(0, 1, (chinese,), "length", manifest=MANIFEST)
    events = told(SpeechStarted(0), first, replace(first, start_s=1, end_s=2, cut="pause"))
    assert transcripts(events) == ["狐狸狐狸"]


def test_items_follow_one_another() -> None:
    events = told(*TURN, SpeechStarted(4), SpeechStopped(5), final("Over.", 3.5, 5.5))
    committed = [event.model_dump() for event in events if kinds([event]) == ["buffer.committed"]]
    assert committed[0]["previous_item_id"] is None
    assert committed[1]["previous_item_id"] == committed[0]["item_id"]


def test_commit_in_the_middle_of_a_turn_ends_the_item_and_the_rest_is_another() -> None:
    rest = (SpeechStarted(1.1), interim("fox", 1, 2), SpeechStopped(3), final("fox.", 1, 3.5))
    events = told(SpeechStarted(0.5), SpeechStopped(1), final("The", 0, 1, "asked"), *rest)
    assert transcripts(events) == ["The", "fox."]
    stopped = [event.model_dump()["item_id"] for event in events if kinds([event]) == ["buffer.speech_stopped"]]
    assert stopped == [event.item_id for event in events if isinstance(event, Completed)]


def test_commit_of_silence_is_an_item() -> None:
    assert transcripts(told(final("", 0, 3, "asked"))) == [""]


def test_the_end_of_the_stream_ends_the_turn() -> None:
    assert transcripts(told(SpeechStarted(0.5), SpeechStopped(3), final("The fox.", 0, 3, "end"))) == ["The fox."]


def test_without_turn_detection_nothing_is_told_of_speech() -> None:
    events = told(
        SpeechStarted(0.5),
        final("The quick", 0, 20, "length"),
        SpeechStopped(22),
        final("fox.", 20, 24, "asked"),
        items=Items(detected=False),
    )
    assert [kind.rpartition(".")[2] for kind in kinds(events)] == ["committed", "added", "done", "delta", "completed"]
    assert transcripts(events) == ["The quick fox."]


def test_text_waits_for_its_item_to_be_known() -> None:
    items = Items(detected=False)
    assert told(SpeechStarted(0.5), interim("The", 0, 1), final("The fox", 0, 6, "length"), items=items) == []
    items.detected = True
    events = told(interim("jumps", 6, 7), SpeechStopped(8), final("jumps.", 6, 8.5), items=items)
    assert deltas(events) == ["The fox jumps."]
    assert kinds(events)[0] == "buffer.committed"


def test_an_item_that_is_committed_ends_with_the_next_final() -> None:
    """Whatever its cut: one that looks for no turns may have been asked for meanwhile."""
    events = told(SpeechStarted(0.5), SpeechStopped(3), final("The fox.", 0, 3.5, "length"))
    assert transcripts(events) == ["The fox."]


def test_an_item_fails_if_any_of_it_did() -> None:
    failed = replace(final("", 0, 20, "length"), failure=RecognitionFailed("it broke"))
    events = told(SpeechStarted(0.5), failed, SpeechStopped(22), final("fox.", 20, 22.5))
    (one,) = [event for event in events if isinstance(event, Failed)]
    assert one.error.code == "recognition_failed"
    assert not transcripts(events)


def test_what_is_cleared_is_of_no_item_any_more() -> None:
    events = told(
        SpeechStarted(0.5),
        interim("The", 0, 1),
        Cleared(2),
        final("", 2, 9, "length"),
        SpeechStarted(9.5),
        SpeechStopped(12),
        final("The fox.", 9, 12.5),
    )
    assert kinds(events)[2] == "buffer.cleared"
    assert transcripts(events) == ["The fox."]


def test_log_probabilities_are_those_of_all_tokens_where_they_are_wanted() -> None:
    events = told(*TURN, items=Items(logprobs=True))
    (completed,) = [event for event in events if isinstance(event, Completed)]
    assert completed.logprobs is not None
    assert [one.token for one in completed.logprobs] == [" The", " fox."]
