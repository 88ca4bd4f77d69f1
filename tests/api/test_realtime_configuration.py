"""What an update changes, without a server."""

import pytest
from pydantic import ValidationError

from service.api.realtime_configuration import SILENCE_MS, Configuration, meant
from service.api.selection import Selection
from service.audio.types import RawFormat, VadOptions
from service.engine.streaming import StreamRequest


def updated(*updates: object) -> Configuration:
    configuration = Configuration()
    for update in updates:
        configuration = configuration.merged(Configuration.model_validate(update))
    return configuration


def of_input(**fields: object) -> object:
    return {"type": "transcription", "audio": {"input": fields}}


def asked(*updates: object) -> StreamRequest:
    return updated(*updates).request(Selection("fake"), client="me")


def test_without_an_update_it_is_24_khz_and_pauses_end_turns() -> None:
    expected = StreamRequest(model="fake", raw=RawFormat("linear16", 24_000), vad=VadOptions(), turns=True, client="me")
    assert asked() == expected


@pytest.mark.parametrize(
    ("given", "raw"),
    [
        ({"type": "audio/pcm"}, RawFormat("linear16", 24_000)),
        ({"type": "audio/pcm", "rate": 8_000}, RawFormat("linear16", 8_000)),
        ({"rate": 48_000}, RawFormat("linear16", 48_000)),
        ({"type": "audio/pcmu"}, RawFormat("mulaw", 8_000)),
        ({"type": "audio/pcma"}, RawFormat("alaw", 8_000)),
        ("pcm16", RawFormat("linear16", 24_000)),
        ("g711_ulaw", RawFormat("mulaw", 8_000)),
        ("g711_alaw", RawFormat("alaw", 8_000)),
    ],
)
def test_both_dialects_name_the_format(given: object, raw: RawFormat) -> None:
    assert asked(of_input(format=given)).raw == raw
    assert asked({"input_audio_format": given}).raw == raw


def test_only_what_is_named_changes() -> None:
    first = of_input(transcription={"model": "a", "language": "de"}, turn_detection={"threshold": 0.7})
    both = updated(first, of_input(transcription={"prompt": "b"}, turn_detection={"silence_duration_ms": 900})).input
    assert (both.transcription.model, both.transcription.language, both.transcription.prompt) == ("a", "de", "b")
    request = asked(first, of_input(turn_detection={"silence_duration_ms": 900}))
    assert request.vad == VadOptions(threshold=0.7, silence_duration_ms=900)


def test_null_turns_detection_off_and_an_object_on_again() -> None:
    off = of_input(turn_detection=None)
    assert not asked(off).turns
    assert not asked(off, of_input(format="pcm16")).turns
    assert asked(off, of_input(turn_detection={"type": "server_vad"})).turns


def test_null_takes_an_option_back() -> None:
    given = of_input(transcription={"language": "de", "prompt": "b", "keywords": ["c"]}, noise_reduction={})
    back = of_input(transcription={"language": None, "prompt": None, "keywords": None}, noise_reduction=None)
    assert updated(given, back) == Configuration()


@pytest.mark.parametrize(("eagerness", "silence_ms"), SILENCE_MS.items())
def test_eagerness_is_how_long_a_pause_may_be(eagerness: str, silence_ms: int) -> None:
    request = asked(of_input(turn_detection={"type": "semantic_vad", "eagerness": eagerness}))
    assert (request.turns, request.vad.silence_duration_ms) == (True, silence_ms)


def test_another_kind_of_detection_has_nothing_of_the_last() -> None:
    slow = of_input(turn_detection={"silence_duration_ms": 5_000})
    semantic = of_input(turn_detection={"type": "semantic_vad"})
    assert asked(slow, semantic, of_input(turn_detection={"type": "server_vad"})).vad == VadOptions()


def test_transcription_is_told_what_to_expect() -> None:
    options = asked(
        of_input(transcription={"language": "en-US", "prompt": "a", "keywords": ["b"], "languages": ["de"]})
    ).options
    assert (options.language, options.prompt, options.hotwords, options.languages) == ("en", "a", ("b",), ("de",))


def test_the_older_dialect_lays_it_flat() -> None:
    flat = {
        "input_audio_format": "g711_ulaw",
        "input_audio_transcription": {"model": "whisper-1"},
        "input_audio_noise_reduction": {"type": "far_field"},
        "turn_detection": None,
        "include": ["item.input_audio_transcription.logprobs"],
        "modalities": ["text"],
    }
    configuration = updated(flat)
    assert configuration.input.transcription.model == "whisper-1"
    assert configuration.input.noise_reduction is not None
    assert (configuration.input.turn_detection, configuration.logprobs) == (None, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "realtime"},
        of_input(format={"type": "audio/mp3"}),
        of_input(format={"rate": 4_000}),
        of_input(turn_detection={"type": "none"}),
        of_input(turn_detection={"threshold": 1.5}),
        of_input(turn_detection={"type": "semantic_vad", "eagerness": "very"}),
        of_input(transcription={"language": "klingon"}),
        of_input(noise_reduction={"type": "all"}),
        {"include": ["everything"]},
    ],
)
def test_wrong_values_are_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        updated(wrong)


@pytest.mark.parametrize("name", ["gpt-realtime-whisper", "gpt-live-transcribe", "gpt-4o-realtime-preview-2024-12-17"])
def test_live_names_of_the_cloud_mean_what_whisper_1_does(name: str) -> None:
    assert meant(name) == "whisper-1"
    assert meant("mine") == "mine"
