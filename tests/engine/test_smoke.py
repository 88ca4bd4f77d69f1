import re

import pytest

from service.audio.sample import SAMPLE_TEXT
from service.backends.fake import FakeBackend, Line
from service.engine.smoke import sample_heard, smoke_test
from service.errors import ModelUnavailable
from service.recognition.recognizer import Recognizer
from tests.recognition.models import BASE, TINY, VARIANTS, recognizer, whisper

NAME = "whisper-tiny.en:int8"


def saying(text: str, *, model: str = TINY) -> Recognizer:
    """A variant whose decoder always says the same."""
    family = whisper(model)
    backend = FakeBackend([Line(tuple(family.tokenizer.encode(text)))], len(family.mask), family.end_token)
    return Recognizer(backend, family)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("model", [TINY, BASE])
def test_what_hears_the_sentence_passes(model: str, variant: str) -> None:
    assert sample_heard(recognizer(model, variant)) == SAMPLE_TEXT
    smoke_test(f"{model}:{variant}", recognizer(model, variant))


@pytest.mark.parametrize(
    "text", [" the quick brown FOX jumps over the lazy dog", " The quick brown box jumped over a lazy frog."]
)
def test_case_punctuation_and_some_wrong_words_do_not_matter(text: str) -> None:
    smoke_test(NAME, saying(text))


@pytest.mark.parametrize("text", [" Thank you.", " The quick brown fox and so on and so on and so on and so on"])
def test_what_hears_something_else_is_refused_with_what_it_heard(text: str) -> None:
    told = f"The model {NAME!r} cannot be loaded: in its smoke test it heard {text.strip()!r} for {SAMPLE_TEXT!r}."
    with pytest.raises(ModelUnavailable, match=re.escape(told)):
        smoke_test(NAME, saying(text))
