from datetime import UTC, datetime, timedelta, timezone

from service.api.deepgram_options import parse
from service.api.deepgram_results import ListenBody, metadata_body, model_uuid, results_body, timestamp
from service.engine.fake import model_info
from service.recognition.types import Language, Transcript
from tests.api.speech import FOX, SILENCE, segment

AT = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
SHORT = Transcript("Hi. You?", (segment("Hi. You?", 0.0, 1.0),), (Language("de", 0.7), Language("en", 0.3)), 1.5)


def body(transcript: Transcript, *query: tuple[str, str]) -> ListenBody:
    options, manifest = parse(query), model_info("fake", "fp32").manifest
    metadata = metadata_body(
        manifest, options, request_id="r", sha256="0" * 64, duration_s=1.23456, created=AT, live=False
    )
    return ListenBody(metadata=metadata, results=results_body(transcript, options, request_id="r"))


def test_answer_is_what_the_sdks_read() -> None:
    answer = body(SHORT, ("tag", "t"), ("extra", "k:v"), ("diarize", "true"))
    model_id = model_uuid(model_info("fake", "fp32").manifest)
    assert answer.model_dump(exclude_none=True) == {
        "metadata": {
            "transaction_key": "deprecated",
            "request_id": "r",
            "sha256": "0" * 64,
            "created": "2026-07-01T12:00:00.123Z",
            "duration": 1.235,
            "channels": 1,
            "models": [model_id],
            "model_info": {model_id: {"name": "fake:fp32", "version": "2026-01-01.1", "arch": "whisper"}},
            "warnings": [
                {
                    "parameter": "diarize",
                    "type": "unsupported",
                    "message": "Not possible here: no model here tells speakers apart.",
                }
            ],
            "extra": {"k": "v"},
            "tags": ["t"],
        },
        "results": {
            "channels": [
                {
                    "alternatives": [
                        {
                            "transcript": "Hi. You?",
                            "confidence": 0.8,
                            "words": [
                                {"word": "hi", "start": 0.0, "end": 0.5, "confidence": 0.8, "punctuated_word": "Hi."},
                                {"word": "you", "start": 0.5, "end": 1.0, "confidence": 0.8, "punctuated_word": "You?"},
                            ],
                        }
                    ]
                }
            ]
        },
    }


def test_silence_has_a_channel_without_words() -> None:
    query = (("paragraphs", "true"), ("utterances", "true"))
    results = body(SILENCE, *query).results
    (alternative,) = results.channels[0].alternatives
    assert (alternative.transcript, alternative.confidence, alternative.words) == ("", 0.0, [])
    assert alternative.paragraphs is not None
    assert (alternative.paragraphs.transcript, alternative.paragraphs.paragraphs) == ("", [])
    assert results.utterances == []


def test_the_language_is_told_where_it_was_detected() -> None:
    (told,) = body(SHORT, ("detect_language", "true")).results.channels
    assert (told.detected_language, told.language_confidence, told.alternatives[0].languages) == ("de", 0.7, ["de"])
    (untold,) = body(SHORT).results.channels
    assert (untold.detected_language, untold.language_confidence, untold.alternatives[0].languages) == (
        None,
        None,
        None,
    )


def test_utterances_lie_between_pauses() -> None:
    utterances = body(FOX, ("utterances", "true"), ("utt_split", "0.15")).results.utterances
    assert utterances is not None
    assert [(one.start, one.end, one.transcript, one.channel) for one in utterances] == [
        (0.0, 3.32, "The quick brown fox jumps.", 0),
        (3.5, 8.47, "Over the lazy dog.", 0),
    ]
    assert [len(one.words) for one in utterances] == [5, 4]
    assert len({one.id for one in utterances}) == 2
    assert len(body(FOX, ("utterances", "true")).results.utterances or ()) == 1


def test_paragraphs_have_sentences() -> None:
    for name in ("paragraphs", "smart_format"):
        paragraphs = body(FOX, (name, "true")).results.channels[0].alternatives[0].paragraphs
        assert paragraphs is not None
        assert paragraphs.transcript == "\nThe quick brown fox jumps. Over the lazy dog."
        (paragraph,) = paragraphs.paragraphs
        assert (paragraph.num_words, paragraph.start, paragraph.end) == (9, 0.0, 8.47)
        assert [one.text for one in paragraph.sentences] == ["The quick brown fox jumps.", "Over the lazy dog."]


def test_without_punctuation_words_are_bare() -> None:
    (alternative,) = body(FOX, ("punctuate", "false")).results.channels[0].alternatives
    assert alternative.transcript == "the quick brown fox jumps over the lazy dog"
    assert alternative.words[0].punctuated_word is None


def test_a_model_keeps_its_id_and_another_has_another() -> None:
    one, other = model_info("fake", "fp32").manifest, model_info("fake", "int8").manifest
    assert model_uuid(one) == model_uuid(one.model_copy()) != model_uuid(other)


def test_time_is_told_in_utc() -> None:
    assert timestamp(AT.astimezone(timezone(timedelta(hours=5)))) == "2026-07-01T12:00:00.123Z"
