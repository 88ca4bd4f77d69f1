from itertools import pairwise
from random import Random

import pytest

from service.api.deepgram_messages import TICKS_PER_S, ControlMessage, extent, results
from service.api.deepgram_options import parse
from service.audio.endpoint import Cut
from service.engine.fake import model_info
from service.engine.streaming import Final, Interim
from service.recognition.types import Language
from tests.api.speech import segment

HEARER = model_info("fake", "int8").manifest
HELLO = (segment("Hello there.", 1.0, 2.0),)


def test_finals_lie_end_to_end_to_the_last_bit() -> None:
    random = Random(6)
    ends_s = [0.0, *sorted(random.uniform(0, 20_000) for _ in range(5_000))]
    told = [extent(start_s, end_s) for start_s, end_s in pairwise(ends_s)]
    assert all(start + duration == after for (start, duration), (after, _) in pairwise(told))
    assert all(abs(start - true_s) <= 0.5 / TICKS_PER_S for (start, _), true_s in zip(told, ends_s, strict=False))


@pytest.mark.parametrize(
    ("cut", "speech_final", "from_finalize"),
    [("pause", True, False), ("length", False, False), ("asked", False, True), ("end", False, False)],
)
def test_a_final_says_why_it_ends(cut: Cut, speech_final: bool, from_finalize: bool) -> None:
    message = results(Final(1.0, 2.0, HELLO, cut), parse(()), hearer=HEARER, request_id="r")
    assert (message.is_final, message.speech_final, message.from_finalize) == (True, speech_final, from_finalize)


def test_an_interim_is_not_final_in_any_way() -> None:
    message = results(Interim(1.0, 1.5, HELLO, "", HEARER), parse(()), hearer=HEARER, request_id="r")
    assert (message.is_final, message.speech_final, message.from_finalize) == (False, False, False)
    assert (message.start, message.duration) == (1.0, 0.5)


def test_a_final_is_what_the_sdks_read() -> None:
    options = parse([("extra", "a:b")])
    message = results(Final(1.0, 2.0, HELLO, "pause"), options, hearer=HEARER, request_id="r")
    hearer = {"name": "fake:int8", "version": "2026-01-01.1", "arch": "whisper"}
    assert message.model_dump(mode="json", exclude_none=True) == {
        "type": "Results",
        "channel_index": [0, 1],
        "start": 1.0,
        "duration": 1.0,
        "is_final": True,
        "speech_final": True,
        "from_finalize": False,
        "channel": {
            "alternatives": [
                {
                    "transcript": "Hello there.",
                    "confidence": 0.8,
                    "words": [
                        {"word": "hello", "start": 1.0, "end": 1.5, "confidence": 0.8, "punctuated_word": "Hello"},
                        {"word": "there", "start": 1.5, "end": 2.0, "confidence": 0.8, "punctuated_word": "there."},
                    ],
                }
            ]
        },
        "metadata": {
            "request_id": "r",
            "model_info": hearer,
            "model_uuid": message.metadata.model_uuid,
            "extra": {"a": "b"},
        },
    }


def test_a_detected_language_is_told() -> None:
    final = Final(1.0, 2.0, HELLO, "pause", languages=(Language("de", 0.9), Language("en", 0.1)))
    message = results(final, parse([("language", "multi")]), hearer=HEARER, request_id="r")
    assert message.channel.alternatives[0].languages == ["de"]


def test_silence_is_an_empty_transcript() -> None:
    message = results(Final(1.0, 2.0, (), "pause"), parse(()), hearer=HEARER, request_id="r")
    (alternative,) = message.channel.alternatives
    assert (alternative.transcript, alternative.confidence, alternative.words) == ("", 0.0, [])


def test_words_are_replaced_in_a_stream_too() -> None:
    message = results(Final(1.0, 2.0, HELLO, "pause"), parse([("replace", "there:you")]), hearer=HEARER, request_id="r")
    assert message.channel.alternatives[0].transcript == "Hello you."


def test_features_that_are_so_already_are_possible() -> None:
    features = {"punctuate": True, "numerals": False, "diarize": True, "smart_format": False}
    assert ControlMessage(type="Configure", features=features).impossible() == ("diarize", "smart_format")
