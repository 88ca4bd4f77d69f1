import json
from dataclasses import replace

from service.api.formats import Rendered, render, token_usage
from service.recognition.types import Language, Token
from tests.api.speech import FOX, SILENCE


def test_text_ends_in_one_line_end() -> None:
    assert render(FOX, "text") == Rendered(FOX.text + "\n", "text/plain")


def test_empty_audio_in_every_format() -> None:
    assert render(SILENCE, "text").content == ""
    assert render(SILENCE, "srt").content == ""
    assert render(SILENCE, "vtt").content == "WEBVTT\n\n"
    assert json.loads(render(SILENCE, "json").content)["text"] == ""
    assert json.loads(render(SILENCE, "verbose_json").content)["segments"] == []


def test_json_counts_started_seconds() -> None:
    assert json.loads(render(FOX, "json").content) == {
        "text": FOX.text,
        "languages": [{"code": "en"}],
        "usage": {"type": "duration", "seconds": 9},
    }


def test_logprobs_keep_the_bytes_of_a_split_character() -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    tokens = (Token(1, first, -0.5), Token(2, second, -0.1))
    split = replace(FOX, segments=(replace(FOX.segments[0], tokens=tokens),))
    logprobs = json.loads(render(split, "json", logprobs=True).content)["logprobs"]
    assert bytes(byte for entry in logprobs for byte in entry["bytes"]).decode() == "é"
    assert [entry["logprob"] for entry in logprobs] == [-0.5, -0.1]


def test_verbose_json_has_every_field_of_the_protocol() -> None:
    body = json.loads(render(FOX, "verbose_json").content)
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 8.47)
    assert body["usage"] == {"type": "duration", "seconds": 9}
    assert "words" not in body
    assert body["segments"][1] == {
        "id": 1,
        "seek": 350,
        "start": 3.5,
        "end": 8.47,
        "text": " Over the lazy dog.",
        "tokens": [100, 101, 102, 103],
        "temperature": 0.0,
        "avg_logprob": FOX.segments[1].avg_logprob,
        "compression_ratio": 1.1,
        "no_speech_prob": 0.01,
        "confidence": 0.8,
    }
    assert body["languages"] == [{"code": "en", "probability": FOX.languages[0].probability}]


def test_words_come_when_asked_for_without_their_space() -> None:
    words = json.loads(render(FOX, "verbose_json", words=True).content)["words"]
    assert [word["word"] for word in words] == FOX.text.split()
    assert words[0] == {"word": "The", "start": 0.0, "end": 0.664, "confidence": 0.8}


def test_translation_is_english_whatever_was_spoken() -> None:
    german = replace(FOX, languages=(Language("de", 0.9),))
    assert json.loads(render(german, "verbose_json").content)["language"] == "german"
    body = json.loads(render(replace(german, task="translate"), "verbose_json").content)
    assert (body["task"], body["language"]) == ("translate", "english")


def test_tokens_are_ten_a_second_in_and_those_written_out() -> None:
    usage = token_usage(FOX)
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (85, 9, 94)
