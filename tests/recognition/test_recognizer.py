import numpy as np
import pytest

from service.audio.types import SAMPLE_RATE, Samples
from service.backends.fake import FakeBackend, Line
from service.errors import OptionError
from service.recognition.computation import run
from service.recognition.recognizer import GROUP, Draft, Heed, Recognizer
from service.recognition.types import FALLBACK_TEMPERATURES, Options, Token
from tests.audio.speech import recording
from tests.recognition.models import BASE, TINY, VARIANTS, clips, heard, recognizer, said, whisper, window

FOX = "The quick brown fox jumps over the lazy dog."
SECOND = np.zeros(SAMPLE_RATE, np.float32)


@pytest.mark.parametrize("model", [TINY, BASE])
@pytest.mark.parametrize("variant", VARIANTS)
def test_says_what_is_said(model: str, variant: str) -> None:
    one = recognizer(model, variant)
    assert said(one, recording("en/quick_brown_fox")) == FOX
    assert said(one, recording("en/hello_world")).strip("!.") in {"Hello world", "Hello World"}


def test_windows_come_in_order_and_in_groups() -> None:
    count = GROUP + 3
    parts = heard(recognizer(TINY, "int8"), *([recording("en/hello_world"), recording("en/quick_brown_fox")] * count))
    assert [len(part.segments) for part in parts] == [GROUP, GROUP, 2 * count - 2 * GROUP]
    texts = [segment.text for part in parts for segment in part.segments]
    assert all("ello" in text for text in texts[::2])
    assert all("fox" in text.lower() for text in texts[1::2])


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    fake = fake_of(line("fox"))
    parts = Recognizer(fake, whisper()).recognize([window(SECOND)] * (GROUP + 1), Options())
    assert not fake.batches
    next(parts)
    assert len(fake.batches) == GROUP


def test_no_windows_are_no_parts() -> None:
    assert heard(recognizer(TINY, "int8")) == []


def test_a_prompt_gives_the_style() -> None:
    counting = recording("en/counting")
    assert "two" not in said(recognizer(TINY, "fp32"), counting).lower()
    options = Options(prompt="One, two, three, four, five.")
    assert said(recognizer(TINY, "fp32"), counting, options=options).startswith("One, two, three, four, five, six")


def test_hotwords_give_the_spelling() -> None:
    fox = recording("en/quick_brown_fox")
    assert "lazy dog" in said(recognizer(TINY, "fp32"), fox)
    assert "Lazy-Dog" in said(recognizer(TINY, "fp32"), fox, options=Options(hotwords=("the Lazy-Dog",)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("clip", "code"),
    [("es/conteo", "es"), ("fr/comptage", "fr"), ("hi/pangrama", "hi"), ("it/conteggio", "it"), ("zh/pangrama", "zh"),
     ("ja/kazoeru", "ja"), ("pt/contagem", "pt"), ("en/counting", "en")],
)  # fmt: skip
def test_the_language_is_detected(variant: str, clip: str, code: str) -> None:
    (part,) = heard(recognizer(BASE, variant), recording(clip))
    first, *others = part.languages
    assert first.code == code
    assert first.probability > 0.8
    assert len(others) == 98
    probabilities = [language.probability for language in part.languages]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_detection_chooses_among_the_candidates() -> None:
    options = Options(languages=("hi", "fr", "de"))
    (part,) = heard(recognizer(BASE, "int8"), recording("it/ciao_mondo"), options=options)
    assert {language.code for language in part.languages} == {"hi", "fr", "de"}
    assert part.languages[0].code == "fr"
    assert sum(language.probability for language in part.languages) < 1


def test_a_given_language_is_taken() -> None:
    (part,) = heard(recognizer(BASE, "int8"), recording("es/conteo"), options=Options(language="fr"))
    assert [(language.code, language.probability) for language in part.languages] == [("fr", 1.0)]


def test_the_first_window_speaks_for_all() -> None:
    spoken = (recording("fr/comptage"), *(recording("en/hello_world") for _ in range(GROUP)))
    parts = heard(recognizer(BASE, "int8"), *spoken)
    assert [part.languages[0].code for part in parts] == ["fr", "fr"]


@pytest.mark.parametrize("options", [Options(language="xx"), Options(languages=("en", "xx"))])
def test_an_unknown_language_is_refused_at_once(options: Options) -> None:
    with pytest.raises(
        OptionError, match=r"does not know the language 'xx'; it knows en, zh, .* and 91 more"
    ) as caught:
        recognizer(BASE, "int8").recognize([], options)
    assert caught.value.param == "language"


def test_an_english_model_refuses_other_languages() -> None:
    with pytest.raises(OptionError, match=r"'de'; it knows en\."):
        recognizer(TINY, "int8").recognize([], Options(language="de"))


@pytest.mark.parametrize(
    ("clip", "expected"),
    [("pt/pangrama", "dog"), ("fr/bonjour_monde", "hello"), ("zh/nihao_shijie", "world")],
)
def test_speech_is_translated_to_english(clip: str, expected: str) -> None:
    text = said(recognizer(BASE, "fp32"), recording(clip), options=Options(task="translate")).lower()
    assert expected in text


@pytest.mark.parametrize("variant", VARIANTS)
def test_word_times_are_in_order_and_inside_the_audio(variant: str) -> None:
    for samples in clips():
        (part,) = heard(recognizer(TINY, variant), samples, options=Options(word_times=True))
        words = [word for segment in part.segments for word in segment.words]
        assert "".join(word.text for word in words) == "".join(segment.text for segment in part.segments)
        times = [time_s for word in words for time_s in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= len(samples) / SAMPLE_RATE
        assert all(0 < word.confidence <= 1 for word in words)


def test_words_stand_where_they_are_said() -> None:
    """The clip was cut by ear: "jumps" lies between 1.1 and 1.6 s, "dog" behind 1.9 s."""
    (part,) = heard(recognizer(TINY, "fp32"), recording("en/quick_brown_fox"), options=Options(word_times=True))
    times = {word.text.strip(" ."): (word.start_s, word.end_s) for word in part.segments[0].words}
    assert times["quick"][0] < times["fox"][0] < 1.1
    assert 0.9 < times["jumps"][0] < 1.4
    assert times["dog"][0] > 1.8


def test_noise_that_makes_no_sense_is_decoded_hotter() -> None:
    rng = np.random.default_rng(0)
    fox = recording("en/quick_brown_fox")
    noisy = (fox + 0.1 * rng.standard_normal(len(fox))).astype(np.float32)
    found = [said(recognizer(TINY, "fp32"), noisy) for _ in range(2)]
    assert found[0] == found[1]


def test_a_loop_ends_and_is_said_once() -> None:
    looping = np.tile(recording("en/hello_world"), 24)[: 28 * SAMPLE_RATE]
    text = said(recognizer(TINY, "int8"), looping).lower()
    assert 0 < text.count("hello") < 8


def fake_of(*lines: Line) -> FakeBackend:
    return FakeBackend(lines, vocabulary=51_864, end_token=50_256)


def line(text: str, *, logit: float = 30.0, at_start: tuple[int, float] | None = None) -> Line:
    return Line(whisper().tokenizer.encode(f" {text}"), logit, at_start)


def steps_of(fake: FakeBackend, temperatures: tuple[float, ...]) -> tuple[str, list[float], int]:
    """What is said, at which temperatures, after how many encodings, of one second."""
    options = Options(temperatures=temperatures)
    (part,) = heard(Recognizer(fake, whisper()), SECOND, options=options)
    return (
        "".join(segment.text for segment in part.segments),
        [segment.temperature for segment in part.segments],
        len(fake.batches),
    )


def test_believable_text_is_taken_at_once() -> None:
    assert steps_of(fake_of(line("the quick fox")), FALLBACK_TEMPERATURES) == (" the quick fox", [0.0], 1)


@pytest.mark.parametrize("doubtful", [line("mumble mumble", logit=9.0), line("and then " * 20)])
def test_doubtful_text_is_encoded_again_with_all_the_padding(doubtful: Line) -> None:
    fake = fake_of(doubtful, line("the quick fox"))
    assert steps_of(fake, FALLBACK_TEMPERATURES) == (" the quick fox", [0.0], 2)
    short, full = (batch.log_weights.shape[1] for batch in fake.batches)
    assert short < full == 1500


def test_the_ladder_is_climbed_to_its_end_and_the_best_is_kept() -> None:
    fake = fake_of(line("what was that again", logit=10.0), line("mumble mumble mumble", logit=8.0))
    text, temperatures, encodings = steps_of(fake, (0.0, 0.2))
    assert (text, temperatures, encodings) == (" what was that again", [0.0], 2)


def test_a_hotter_text_is_kept_where_the_cooler_ones_repeat_themselves() -> None:
    (part,) = heard(Recognizer(fake_of(line("and then " * 20, logit=9.5)), whisper()), SECOND)
    (segment,) = part.segments
    assert segment.temperature > 0


def test_without_a_ladder_doubt_costs_one_more_try() -> None:
    fake = fake_of(line("mumble", logit=8.0))
    assert steps_of(fake, (0.0,))[1:] == ([0.0], 2)


def test_what_only_loops_is_said_once() -> None:
    text, _, _ = steps_of(fake_of(line("hello world again " * 20)), (0.0, 0.2))
    assert text == " hello world again"


def test_a_window_that_the_model_takes_for_silence_has_no_text() -> None:
    fake = fake_of(line("you", logit=7.0, at_start=(50_361, 40.0)))
    prompted = Options(prompt="something before")
    (part,) = heard(Recognizer(fake, whisper()), SECOND, options=prompted)
    assert part.segments == ()
    assert len(fake.batches) == 1


def test_sure_text_is_kept_whatever_the_model_thinks_of_the_start() -> None:
    fake = fake_of(line("hello there", at_start=(50_361, 40.0)))
    (part,) = heard(Recognizer(fake, whisper()), SECOND, options=Options(prompt="something before"))
    assert "".join(segment.text for segment in part.segments) == " hello there"


def test_warming_up_runs_everything() -> None:
    fake = fake_of(line("fox"))
    Recognizer(fake, whisper()).warmup()
    assert len(fake.batches) == 1
    assert fake.steps


EIGHT_SECONDS = np.zeros(8 * SAMPLE_RATE, np.float32)


def test_a_window_whose_text_stops_early_is_decoded_in_halves() -> None:
    fake = fake_of(line("the end"), line("this is the first half"), line("and this is the other"))
    (part,) = heard(Recognizer(fake, whisper()), EIGHT_SECONDS)
    assert [segment.text for segment in part.segments] == [" this is the first half", " and this is the other"]
    first, second = part.segments
    assert 0 == first.start_s < first.end_s == second.start_s < second.end_s == 8


def test_a_window_with_little_speech_keeps_its_text_if_its_halves_say_no_more() -> None:
    (part,) = heard(Recognizer(fake_of(line("the end"), line("the"), line("end")), whisper()), EIGHT_SECONDS)
    assert "".join(segment.text for segment in part.segments) == " the end"


def drafted(
    one: Recognizer, samples: Samples, *, given: tuple[Token, ...] = (), options: Options | None = None
) -> Draft:
    asked = options or Options()
    heed = Heed(one.known_languages(asked))
    (draft,) = run(one.backend, one.family, [one.draft(window(samples), asked, heed, given)])
    return draft


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("count", [0, 1, 4, 100])
def test_a_draft_goes_on_from_what_is_given_as_it_would_have_itself(variant: str, count: int) -> None:
    one, fox = recognizer(TINY, variant), recording("en/quick_brown_fox")
    whole = drafted(one, fox)
    again = drafted(one, fox, given=whole.tokens[:count])
    assert [token.id for token in again.tokens] == [token.id for token in whole.tokens]
    assert again.repeats is False
    assert [token.logprob for token in again.tokens] == pytest.approx(
        [token.logprob for token in whole.tokens], abs=0.02 if variant == "int8" else 1e-3
    )


def test_words_of_a_draft_stand_where_they_do_without_anything_given() -> None:
    one, fox = recognizer(TINY, "fp32"), recording("en/quick_brown_fox")
    options = Options(word_times=True)
    whole = drafted(one, fox, options=options)
    again = drafted(one, fox, given=whole.tokens[:4], options=options)
    starts = [[word.start_s for segment in draft.segments for word in segment.words] for draft in (whole, again)]
    assert starts[1] == pytest.approx(starts[0], abs=0.05)


def test_a_draft_says_what_the_whole_says() -> None:
    one, fox = recognizer(TINY, "fp32"), recording("en/quick_brown_fox")
    draft = drafted(one, fox)
    assert "".join(segment.text for segment in draft.segments).strip() == said(one, fox) == FOX


def test_a_draft_that_looks_wrong_is_not_decoded_again() -> None:
    fake = fake_of(line("mumble mumble", logit=9.0), line("the quick fox"))
    draft = drafted(Recognizer(fake, whisper()), SECOND)
    assert not draft.repeats
    assert len(fake.batches) == 1


def test_a_draft_tells_its_language() -> None:
    draft = drafted(recognizer(BASE, "int8"), recording("es/conteo"))
    assert draft.languages[0].code == "es"
