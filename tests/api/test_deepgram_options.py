import re
from pathlib import Path

import pytest

from service.api.deepgram_options import (
    ENDPOINTING_MS,
    IMPOSSIBLE,
    MOST_VALUES,
    NEEDLESS,
    ListenOptions,
    engine_name,
    parse,
)
from service.api.deepgram_words import MOST_WORDS_BYTES, Replacement
from service.audio.types import RawFormat
from service.engine.fake import model_info
from service.errors import ModelNotFound, OptionError
from service.recognition.types import Options

INFOS = (model_info("whisper-tiny", "int8", default=True), model_info("other", "fp32", default=True))
RAW = [("encoding", "linear16"), ("sample_rate", "16000")]


def warned(*query: tuple[str, str], live: bool = True) -> list[tuple[str, str]]:
    return [(one.parameter, one.type) for one in parse(query).warnings(live=live)]


def test_nothing_given_is_english_as_it_is_written() -> None:
    options = parse(())
    assert options.options() == Options(language="en", word_times=True)
    assert (options.model, options.raw(), options.plain) == ("auto", None, False)
    assert options.warnings(live=True) == options.warnings(live=False) == []


@pytest.mark.parametrize(
    "name", ["nova-3", "nova-2-medical", "nova", "base", "enhanced-phonecall", "general", "whisper"]
)
def test_a_model_of_the_cloud_leaves_the_choice_to_the_server(name: str) -> None:
    assert engine_name(parse([("model", name)]).model, INFOS) == "auto"


def test_a_model_that_is_here_is_meant_even_if_the_cloud_has_one_of_that_name() -> None:
    assert engine_name("whisper-tiny", INFOS) == "whisper-tiny"
    assert engine_name("whisper-base", INFOS) == "auto"
    assert engine_name("other:fp32", INFOS) == "other:fp32"


def test_a_model_that_nobody_has_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        engine_name("nova-9", INFOS)


def test_the_old_sdk_says_none_where_no_model_was_given() -> None:
    assert parse([("model", "None")]).model == "auto"


@pytest.mark.parametrize(
    ("query", "language", "candidates"),
    [
        ([("language", "en-US")], "en", ()),
        ([("language", "pt_BR")], "pt", ()),
        ([("language", "multi")], None, ()),
        ([("language", "multi"), ("language_hint", "en"), ("language_hint", "es-419")], None, ("en", "es")),
        ([("language_hint", "es")], "en", ()),
        ([("detect_language", "true")], None, ()),
        ([("detect_language", "True"), ("language", "de")], None, ()),
        ([("detect_language", "en"), ("detect_language", "fr")], None, ("en", "fr")),
        ([("detect_language", "false"), ("language", "de")], "de", ()),
    ],
)
def test_language_is_given_or_detected(
    query: list[tuple[str, str]], language: str | None, candidates: tuple[str, ...]
) -> None:
    options = parse(query).options()
    assert (options.language, options.languages) == (language, candidates)


def test_keywords_and_keyterms_are_words_to_expect() -> None:
    query = [("keywords", "Wren:2"), ("keywords", "10:30:1.5"), ("keywords", "plain"), ("keywords", "not:-3")]
    options = parse([*query, ("keyterm", "so called"), ("keyterm", "a:b")]).options()
    assert options.hotwords == ("Wren", "10:30", "plain", "so called", "a:b")


@pytest.mark.parametrize("name", ["detect_language", "language_hint", "keywords", "keyterm", "replace", "extra", "tag"])
def test_a_list_has_an_end(name: str) -> None:
    parse([(name, "en:x" if name in ("replace", "extra") else "en")] * MOST_VALUES)
    with pytest.raises(OptionError) as caught:
        parse([(name, "en:x" if name in ("replace", "extra") else "en")] * (MOST_VALUES + 1))
    assert caught.value.param == name


@pytest.mark.parametrize(("names", "param"), [(("keywords",), "keywords"), (("keyterm", "keywords"), "keyterm")])
def test_words_to_expect_are_of_a_length_together(names: tuple[str, ...], param: str) -> None:
    fitting = [(name, "x" * (MOST_WORDS_BYTES // len(names))) for name in names]
    parse(fitting)
    with pytest.raises(OptionError, match="8192 bytes") as caught:
        parse([*fitting, (names[0], "y")])
    assert caught.value.param == param


def test_replace_extra_and_tag_are_pairs_and_lists() -> None:
    options = parse([("replace", "New York:NY"), ("replace", "um"), ("extra", "a:b:c"), ("tag", "x"), ("tag", "y")])
    assert options.replace == (Replacement(("new", "york"), "NY"), Replacement(("um",), ""))
    assert (options.extra, options.tag) == ((("a", "b:c"),), ("x", "y"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ([("encoding", "linear16"), ("sample_rate", "16000"), ("channels", "2")], RawFormat("linear16", 16000, 2)),
        ([("encoding", "linear32"), ("sample_rate", "48000")], RawFormat("float32", 48000)),
        ([("encoding", "mulaw")], RawFormat("mulaw", 8000)),
        ([("encoding", "ALAW"), ("sample_rate", "16000")], RawFormat("alaw", 16000)),
        ([("encoding", "ogg-opus"), ("sample_rate", "48000")], None),
        ([("encoding", "flac")], None),
        ([("sample_rate", "16000"), ("channels", "2")], None),
    ],
)
def test_audio_without_a_header_is_laid_out_as_is_said(
    query: list[tuple[str, str]], expected: RawFormat | None
) -> None:
    assert parse(query).raw() == expected


@pytest.mark.parametrize(
    ("value", "turns", "silence_ms"),
    [
        ("300", True, 300),
        ("true", True, ENDPOINTING_MS),
        ("0", True, 0),
        ("false", False, ENDPOINTING_MS),
        ("False", False, ENDPOINTING_MS),
    ],
)
def test_endpointing_is_a_pause_or_none(value: str, turns: bool, silence_ms: int) -> None:
    request = parse([*RAW, ("endpointing", value)]).stream_request("m", client="c")
    assert (request.turns, request.vad.silence_duration_ms) == (turns, silence_ms)


def test_a_stream_asks_the_engine_for_all_of_it() -> None:
    query = [*RAW, ("interim_results", "true"), ("utterance_end_ms", "1500"), ("keyterm", "x")]
    request = parse(query).stream_request("m:v", client="c")
    assert (request.model, request.client, request.raw) == ("m:v", "c", RawFormat("linear16", 16000))
    assert (request.interims, request.utterance_gap_s) == (True, 1.5)
    assert request.options == Options(language="en", hotwords=("x",), word_times=True)


def test_utterance_end_needs_interim_results_of_a_stream_alone() -> None:
    options = parse([("utterance_end_ms", "1000")])
    with pytest.raises(OptionError, match="interim_results"):
        options.stream_request("m", client="c")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ([("language", "xx")], "language"),
        ([("language_hint", "xx")], "language_hint"),
        ([("detect_language", "xx")], "detect_language"),
        ([("encoding", "g729")], "encoding"),
        ([("encoding", "linear16")], "sample_rate"),
        ([("sample_rate", "0")], "sample_rate"),
        ([("channels", "many")], "channels"),
        ([("endpointing", "soon")], "endpointing"),
        ([("endpointing", "-1")], "endpointing"),
        ([("utterance_end_ms", "999")], "utterance_end_ms"),
        ([("utterance_end_ms", "5001")], "utterance_end_ms"),
        ([("utt_split", "0")], "utt_split"),
        ([("utt_split", "inf")], "utt_split"),
        ([("interim_results", "maybe")], "interim_results"),
        ([("replace", ":x")], "replace"),
        ([("extra", "x")], "extra"),
        ([("callback", "https://example.org")], "callback"),
        ([("model", "a"), ("model", "b")], "model"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_parameter(query: list[tuple[str, str]], param: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse(query)
    assert caught.value.param == param
    assert param in str(caught.value)


@pytest.mark.parametrize(
    ("query", "plain"),
    [
        ([], False),
        ([("punctuate", "true")], False),
        ([("punctuate", "false")], True),
        ([("punctuate", "false"), ("smart_format", "true")], False),
    ],
)
def test_punctuation_goes_only_if_that_was_asked_for(query: list[tuple[str, str]], plain: bool) -> None:
    assert parse(query).plain == plain


@pytest.mark.parametrize("name", sorted(IMPOSSIBLE))
def test_what_cannot_be_done_is_ignored_and_named(name: str) -> None:
    assert warned((name, "true")) == [(name, "unsupported")]
    assert warned((name, "false")) == []


def test_what_is_unknown_is_ignored_and_named() -> None:
    assert warned(("sprinkles", "1"), ("sprinkles", "2")) == [("sprinkles", "unknown")]


def test_parameters_given_more_than_once_are_named_once() -> None:
    assert warned(("redact", "pci"), ("redact", "ssn"), ("alternatives", "1")) == [("redact", "unsupported")]


def test_keys_and_what_asks_for_nothing_are_not_named() -> None:
    needless = [(name, "true") for name in NEEDLESS]
    assert warned(("api_key", "k"), ("token", "k"), *needless) == []


def test_what_is_for_the_other_kind_of_audio_is_named() -> None:
    query = [("utterances", "true"), ("vad_events", "true")]
    assert warned(*query, live=True) == [("utterances", "unsupported")]
    assert warned(*query, live=False) == [("vad_events", "unsupported")]


def test_every_parameter_is_on_the_page_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    section = page.partition("## Deepgram")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", section.partition("| parameter |")[2].partition("\n\n")[0], re.MULTILINE)
    assert rows == list(ListenOptions.model_fields)
    assert not [name for name in (*IMPOSSIBLE, *NEEDLESS) if f"`{name}`" not in section]
