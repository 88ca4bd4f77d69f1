import math

import pytest

from service.api.forms import TranscriptionForm, parse
from service.audio.types import RawFormat, VadOptions
from service.errors import OptionError
from service.recognition.types import FALLBACK_TEMPERATURES


def form(*fields: tuple[str, str]) -> TranscriptionForm:
    return parse([("model", "m"), *fields])


def refusal(*fields: tuple[str, str]) -> OptionError:
    with pytest.raises(OptionError) as caught:
        form(*fields)
    return caught.value


def test_defaults_are_those_of_the_protocol() -> None:
    asked = form()
    assert asked.response_format == "json"
    assert not asked.stream
    assert asked.options("transcribe").temperatures == FALLBACK_TEMPERATURES
    assert not asked.options("transcribe").word_times
    assert asked.vad() == VadOptions()
    assert asked.raw() is None


def test_missing_model_is_named() -> None:
    with pytest.raises(OptionError, match="missing") as caught:
        parse([])
    assert caught.value.param == "model"


def test_unknown_fields_are_ignored() -> None:
    assert form(("beam_size", "5"), ("user", "me")) == form()


def test_every_option_reaches_the_recogniser() -> None:
    options = form(
        ("language", "pt-BR"),
        ("languages[]", "en"),
        ("languages[]", "German"),
        ("prompt", "Hello."),
        ("keywords[]", "Wren, the bird"),
        ("keywords[]", "moonshine"),
        ("hotwords", "tea, coffee"),
        ("temperature", "0.4"),
        ("timestamp_granularities[]", "word"),
    ).options("translate")
    assert options.task == "translate"
    assert options.language == "pt"
    assert options.languages == ("en", "de")
    assert options.prompt == "Hello."
    assert options.hotwords == ("Wren, the bird", "moonshine", "tea", "coffee")
    assert options.temperatures == (0.4,)
    assert options.word_times


@pytest.mark.parametrize(
    "fields",
    [
        [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.3")],
        [("chunking_strategy", '{"type": "server_vad", "threshold": 0.3}')],
    ],
)
def test_server_vad_is_understood_in_brackets_and_as_json(fields: list[tuple[str, str]]) -> None:
    assert form(*fields).vad() == VadOptions(threshold=0.3)


@pytest.mark.parametrize("value", ["auto", '"auto"'])
def test_auto_chunking_is_the_default(value: str) -> None:
    assert form(("chunking_strategy", value)).vad() == VadOptions()


def test_vad_filter_false_keeps_all_audio() -> None:
    assert not form(("vad_filter", "false")).vad().enabled


def test_auto_language_is_detected() -> None:
    assert form(("language", "auto")).options("transcribe").language is None


def test_g711_needs_no_sample_rate() -> None:
    assert form(("encoding", "g711_ulaw")).raw() == RawFormat("mulaw", 8000)


def test_raw_pcm_is_described_by_three_fields() -> None:
    raw = form(("encoding", "pcm_s16le"), ("sample_rate", "44100"), ("channels", "2")).raw()
    assert raw == RawFormat("linear16", 44_100, 2)


def test_somebody_waits_without_a_deadline_unless_the_form_says_otherwise() -> None:
    assert (form().priority, form().deadline_s) == ("interactive", None)
    asked = form(("priority", "batch"), ("deadline_s", "2.5"))
    assert (asked.priority, asked.deadline_s) == ("batch", 2.5)


def test_precision_is_wished_for_unless_it_is_auto() -> None:
    assert (form().wish, form(("precision", "auto")).wish) == (None, None)
    assert form(("precision", "int8")).wish == "int8"


@pytest.mark.parametrize(("value", "seconds"), [("0", 0), ("90", 90), ("5m", 300), ("1.5h", 5400), ("-1", math.inf)])
def test_a_variant_is_kept_as_long_as_the_form_says(value: str, seconds: float) -> None:
    assert form().keep_alive is None
    assert form(("keep_alive", value)).keep_alive == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", "fp7"),
        ("keep_alive", "long"),
        ("keep_alive", "-2"),
        ("keep_alive", "inf"),
        ("language", "klingon"),
        ("languages", "xx"),
        ("response_format", "xml"),
        ("response_format", "diarized_json"),
        ("temperature", "1.5"),
        ("temperature", "nan"),
        ("temperature", "warm"),
        ("stream", "maybe"),
        ("timestamp_granularities", "letter"),
        ("include", "secrets"),
        ("chunking_strategy", "sometimes"),
        ("chunking_strategy", "[1]"),
        ("chunking_strategy", "[" * 5000),
        ("chunking_strategy", '{"type": "client_vad"}'),
        ("chunking_strategy", '{"threshold": 7}'),
        ("encoding", "opus"),
        ("encoding", "linear16"),
        ("channels", "0"),
        ("priority", "urgent"),
        ("deadline_s", "0"),
        ("deadline_s", "-1"),
        ("deadline_s", "inf"),
        ("deadline_s", "nan"),
        ("deadline_s", "soon"),
    ],
)
def test_wrong_value_is_an_error_that_names_the_field(name: str, value: str) -> None:
    expected = "sample_rate" if value == "linear16" else name
    assert refusal((name, value)).param == expected


def test_refusal_shows_the_value_and_what_would_do() -> None:
    message = str(refusal(("response_format", "xml")))
    assert "'xml'" in message
    assert "'verbose_json'" in message


def test_language_in_brackets_is_refused_not_a_crash() -> None:
    assert refusal(("language[]", "en")).param == "language"


@pytest.mark.parametrize("response_format", ["srt", "vtt", "verbose_json"])
def test_stream_goes_with_json_and_text_alone(response_format: str) -> None:
    assert refusal(("stream", "true"), ("response_format", response_format)).param == "response_format"
    assert form(("stream", "true"), ("response_format", "text")).stream


def test_logprobs_go_with_json_alone() -> None:
    assert refusal(("include[]", "logprobs"), ("response_format", "verbose_json")).param == "include"
    assert form(("include[]", "logprobs")).wants_logprobs
