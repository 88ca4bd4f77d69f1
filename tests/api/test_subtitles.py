from dataclasses import replace
from itertools import pairwise

from service.api.subtitles import MAX_CUE_CHARACTERS, cues, srt, vtt
from tests.api.speech import FOX, segment


def test_srt_is_what_the_protocol_shows() -> None:
    assert srt(FOX.segments) == (
        "1\n00:00:00,000 --> 00:00:03,320\nThe quick brown fox jumps.\n\n"
        "2\n00:00:03,500 --> 00:00:08,470\nOver the lazy dog.\n\n"
    )


def test_vtt_is_what_the_protocol_shows() -> None:
    assert vtt(FOX.segments) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:03.320\nThe quick brown fox jumps.\n\n"
        "00:00:03.500 --> 00:00:08.470\nOver the lazy dog.\n\n"
    )


def test_no_speech_leaves_the_header_alone() -> None:
    assert srt(()) == ""
    assert vtt(()) == "WEBVTT\n\n"


def test_hours_are_counted() -> None:
    assert "01:01:01,500 --> 100:00:00,000" in srt([segment("Late.", 3661.5, 360_000)])


def test_text_cannot_end_a_cue_or_open_a_tag() -> None:
    tricky = replace(segment("x", 0, 1), text=" a\n\nb <i> & --> c")
    assert srt([tricky]).count("\n\n") == 1
    assert "a b &lt;i&gt; &amp; --&gt; c" in vtt([tricky])


def test_segment_without_text_has_no_cue_and_no_number() -> None:
    blank = replace(segment("x", 0, 1), text="  ")
    assert srt([blank, segment("Hello.", 1, 2)]).startswith("1\n00:00:01,000")


def test_long_segment_is_cut_between_words_at_their_times() -> None:
    long = segment("alpha beta gamma delta " * 10, 0, 40)
    found = list(cues([long]))
    assert len(found) > 1
    assert all(len(cue.text) <= MAX_CUE_CHARACTERS for cue in found)
    assert " ".join(cue.text for cue in found) == long.text.strip()
    assert found[0].start_ms == 0
    assert found[-1].end_ms == 40_000
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(found))


def test_long_segment_without_word_times_stays_whole() -> None:
    long = replace(segment("alpha beta gamma delta " * 10, 0, 40), words=())
    assert len(list(cues([long]))) == 1


def test_cue_lasts_even_if_its_segment_does_not() -> None:
    (cue,) = cues([segment("Hi.", 1.0, 1.0)])
    assert cue.end_ms > cue.start_ms
