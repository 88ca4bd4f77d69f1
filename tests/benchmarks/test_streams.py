"""What the benchmarks of live streams count with."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.hecklers import Ending
from benchmarks.lags import Lags, gaps_s, summary
from benchmarks.live import Heard, Sound, Told, gaps, message, sound
from benchmarks.speech import PACKAGED, load
from benchmarks.stream_chunks import Encoded, encodings
from benchmarks.stream_soak import behind_s, off
from benchmarks.streams import for_a_while, scores
from benchmarks.timing import timed

SOUND = Sound("one", (b"x",) * 40, 0.05, 2.0, {})
SENT_S = tuple(0.05 * n for n in range(1, 41))


def told(at_s: float, start_s: float, end_s: float, text: str = "", *, final: bool = False, last: bool = False) -> Told:
    words = timed((word, start_s, end_s - 0.3) for word in text.split())
    return Told(at_s, "Results", start_s, end_s, final, last, text, tuple(words))


def heard(*messages: Told, closing_s: float = 2.0) -> Heard:
    return Heard(SOUND, SENT_S, messages, closing_s, code=1000)


def test_sound_is_cut_without_loss() -> None:
    samples = np.linspace(-1, 1, 1_999, dtype=np.float32)
    made = sound("ramp", samples, chunk_s=0.05)
    assert [len(chunk) for chunk in made.chunks] == [1600, 1600, 798]
    assert len(b"".join(made.chunks)) == 2 * len(samples)
    assert made.duration_s == pytest.approx(1_999 / 16_000)
    longer = sound("ramp", samples, chunk_s=0.05, pause_s=0.5)
    assert longer.duration_s == pytest.approx(made.duration_s + 0.5)
    assert b"".join(longer.chunks) == b"".join(made.chunks) + bytes(16_000)


@pytest.mark.parametrize(("audio_s", "sent_s"), [(0.0, 0.05), (0.05, 0.05), (0.0501, 0.1), (0.06, 0.1), (9.0, 2.0)])
def test_audio_is_sent_with_the_chunk_that_ends_with_it(audio_s: float, sent_s: float) -> None:
    assert heard().sent_at(audio_s) == pytest.approx(sent_s)


def test_results_are_read_as_they_are_told() -> None:
    word = {"word": "hello", "punctuated_word": "Hello,", "start": 1.0, "end": 1.5, "confidence": 0.9}
    alternatives = [{"transcript": "Hello,", "confidence": 0.9, "words": [word]}]
    said = {"type": "Results", "start": 1.0, "duration": 0.75, "is_final": True, "speech_final": False}
    found = message(3.0, json.dumps({**said, "channel": {"alternatives": alternatives}}))
    assert found == Told(3.0, "Results", 1.0, 1.75, True, False, "Hello,", tuple(timed([("hello", 1.0, 1.5)])))
    assert message(0.5, '{"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.25}').start_s == 0.25


def test_lags_are_against_what_had_been_sent() -> None:
    lags = Lags()
    interims = [told(0.4, 0, 0.3), told(0.7, 0, 0.6, "the"), told(1.0, 0, 0.9, "the quick")]
    finals = [told(1.6, 0, 1.5, "the quick fox", final=True, last=True), told(2.2, 1.5, 2.0, final=True)]
    lags.add(heard(*interims, *finals), 0.21)
    assert lags.first == pytest.approx([450])
    assert lags.interim == pytest.approx([100, 100, 100])
    assert lags.gap == pytest.approx([300, 600])
    assert lags.final == pytest.approx([100])
    assert lags.word == pytest.approx([400])
    assert lags.close == pytest.approx([200])
    assert lags.late == pytest.approx([0] * 39)


def test_close_is_of_streams_that_were_broken_off() -> None:
    lags = Lags()
    messages = (told(1.9, 0, 1.8, "a", final=True, last=True), told(2.2, 1.8, 2.0, final=True))
    lags.add(Heard(replace(SOUND, pause_s=1.0), SENT_S, messages, 2.0, code=1000), None)
    assert (lags.close, lags.first) == ([], [])
    assert lags.final == pytest.approx([100])


def test_gaps_are_within_segments() -> None:
    messages = [told(1, 0, 1), told(2, 0, 2, "a"), told(3, 0, 3, "a", final=True), told(9, 3, 4, "b", final=True)]
    assert list(gaps_s(messages)) == [1]


def test_summary_counts_those_that_were_turned_away() -> None:
    refused, thrown_out = Heard(SOUND, status=429), Heard(SOUND, SENT_S, code=1011)
    found = summary(8, [heard(told(1, 0, 2, "a", final=True)), refused, thrown_out], {})
    assert (found.streams, found.heard, found.refused) == (8, 1, {"429": 1, "1011": 1})
    assert (found.first_p50, found.finals) == (None, 0)


def test_finals_are_apart_where_they_do_not_lie_end_to_end() -> None:
    one, two = told(1, 0, 1.2, final=True), told(2, 1.2, 2.0, final=True)
    assert gaps([one, two], 2.0) == 0
    assert gaps([one, two], 2.5) == pytest.approx(0.5)
    assert gaps([one, told(2, 1.1, 2.0, final=True)], 2.0) == pytest.approx(0.1)
    assert gaps([], 2.0) == 2.0


def test_texts_are_scored_by_set_and_together() -> None:
    one, two = load(None, [PACKAGED], languages=["en"])[:2]
    found = scores([one, two], {one.name: one.text, two.name: ""})
    assert found["pooled"] == found["audioeval"] > 0
    assert scores([one], {one.name: one.text})["pooled"] == 0


def test_each_sound_comes_before_any_comes_again() -> None:
    all_ = [sound(str(n), np.zeros(16, np.float32), chunk_s=0.05) for n in range(5)]
    drawn = for_a_while(all_, 60, seed=1)
    assert {next(drawn).name for _ in range(5)} == {next(drawn).name for _ in range(5)} == set("01234")
    assert not list(for_a_while(all_, 0, seed=1))


def test_every_encoding_is_cut_into_all_of_it() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    made = list(encodings(samples))
    assert [one.name for one in made] == ["linear16", "mulaw", "ogg-opus", "webm-opus"]
    for one in made:
        for chunk in (7, 1600, None):
            assert b"".join(one.cut(chunk).chunks) == one.audio
    assert len(made[0].cut(1600).chunks) == 10
    assert Encoded("raw", bytes(100), 2, 1.0, {}).cut(10).chunk_s == pytest.approx(0.2)


def test_what_is_behind_is_the_most_that_was_sent_and_not_final() -> None:
    assert behind_s(heard(told(1.0, 0, 0.4, final=True), told(2.5, 0.4, 2.0, final=True))) == pytest.approx(0.6)


def test_words_are_compared_where_both_have_them() -> None:
    whole = timed([("a", 1.0, 1.2), ("b", 2.0, 2.2), ("c", 3.0, 3.2)])
    live = timed([("a", 1.05, 1.2), ("x", 2.0, 2.2), ("c", 2.9, 3.2)])
    assert off(whole, live) == pytest.approx([50, 100])


@pytest.mark.parametrize(
    ("outcome", "unexplained"),
    [("closed 1011", True), ("closed 1006", True), ("refused 500", True), ("closed 1011 NET-0001", False)],
)
def test_a_close_with_a_reason_is_explained(outcome: str, unexplained: bool) -> None:
    assert Ending("any", "/v1/listen", outcome).unexplained is unexplained
