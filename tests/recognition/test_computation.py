from collections.abc import Callable

import numpy as np
import pytest

from service.audio.types import SAMPLE_RATE
from service.backends.base import EncoderBatch
from service.backends.fake import FakeBackend, Line
from service.backends.sequences import Job
from service.errors import RecognitionFailed
from service.recognition.computation import Computation, decoding, encoding, run
from service.recognition.families.whisper import POSITION_S, TAIL
from service.recognition.recognizer import Heed, Recognizer
from service.recognition.types import Language, Options, Segment
from tests.recognition.models import BASE, whisper, window

ENGLISH = Heed((Language("en", 1.0),))
FULL = 1500
"""Encoder positions of a window that is encoded with all its padding."""


def line(text: str, *, logit: float = 30.0) -> Line:
    return Line(whisper().tokenizer.encode(f" {text}"), logit)


def fake_of(*lines: Line, chosen: Callable[[EncoderBatch], int] | None = None) -> FakeBackend:
    return FakeBackend(lines, vocabulary=51_864, end_token=50_256, chosen=chosen)


def seconds_of(row: EncoderBatch) -> float:
    """Of the window that a row of features was made of."""
    return float((row.log_weights == 0).sum() - TAIL) * POSITION_S


def spoken(number: int, times: int) -> Computation[tuple[int, int, list[int]]]:
    """Encodes and decodes so many times; its number, and how many tokens each had."""
    counts = []
    for _ in range(times):
        memory = yield from encoding(np.zeros(SAMPLE_RATE, np.float32))
        prompt = whisper().prompt(Options(), task="transcribe", language="en")
        counts.append(len((yield from decoding(Job(memory, prompt, token_limit=20))).tokens))
    return number, times, counts


def test_no_computations_are_no_results() -> None:
    assert run(fake_of(line("fox")), whisper(), []) == []


def test_each_computation_comes_to_its_own_end() -> None:
    """Also one that asks for nothing: results come in the order of the computations."""
    times = [2, 0, 3, 1]
    words = line("fox")
    fake = fake_of(words)
    found = run(fake, whisper(), [spoken(number, count) for number, count in enumerate(times)])
    assert found == [(number, count, [len(words.tokens)] * count) for number, count in enumerate(times)]
    assert len(fake.batches) == sum(times)


def test_windows_are_encoded_alone_and_decoded_together() -> None:
    fake = fake_of(line("the quick fox"), line("fox"))
    run(fake, whisper(), [spoken(0, 1), spoken(1, 1)])
    assert [batch.rows for batch in fake.batches] == [1, 1]
    assert fake.steps[0] == 2


def transcribed(fake: FakeBackend, *lengths_s: int) -> list[list[str]]:
    """What is said in silent windows of these lengths, in this company."""
    recognizer = Recognizer(fake, whisper())
    windows = [window(np.zeros(length_s * SAMPLE_RATE, np.float32)) for length_s in lengths_s]
    found = run(fake, whisper(), [recognizer.transcribe(one, Options(), ENGLISH) for one in windows])
    return [[segment.text for segment in segments] for segments in found]


def test_a_window_in_halves_and_one_on_the_ladder_do_not_disturb_their_mates() -> None:
    """A window of 8 s stops early, one of 2 s is doubtful until it is encoded with all its padding."""

    def chosen(row: EncoderBatch) -> int:
        if row.lengths[0] == FULL:
            return 3
        return {8.0: 0, 2.0: 2, 1.0: 4}.get(seconds_of(row), 1)

    fake = fake_of(
        line("the end"), line("this is one half of it"), line("mumble", logit=8.0), line("the slow dog"),
        line("the quick fox"), chosen=chosen,
    )  # fmt: skip
    halves = [" this is one half of it"] * 2
    assert transcribed(fake, 1, 8, 2) == [[" the quick fox"], halves, [" the slow dog"]]
    assert transcribed(fake, 2, 8, 1, 8) == [[" the slow dog"], halves, [" the quick fox"], halves]
    for length_s in (1, 2, 8):
        assert transcribed(fake, length_s) == transcribed(fake, length_s, 1, 2, 8)[:1]


def test_a_memory_that_is_there_is_not_encoded_again() -> None:
    family = whisper(BASE)
    text = Line(family.tokenizer.encode(" quick fox"))
    fake = FakeBackend([text], vocabulary=51_865, end_token=family.end_token)
    one = window(np.zeros(SAMPLE_RATE, np.float32))
    recognizer = Recognizer(fake, family)
    (heed,) = run(fake, family, [recognizer.heed(one, Options())])
    (segments,) = run(fake, family, [recognizer.transcribe(one, Options(), heed)])
    assert [segment.text for segment in segments] == [" quick fox"]
    assert len(fake.batches) == 1


@pytest.mark.parametrize("fault", ["encode", "step"])
def test_what_the_backend_raises_surfaces(fault: str) -> None:
    fake = fake_of(Line((3000, 3001), fault="encode" if fault == "encode" else "step", sound=1))
    with pytest.raises(RuntimeError, match=f"fails to {fault}"):
        run(fake, whisper(), [spoken(0, 1)])


def test_what_a_row_alone_is_wrong_with_surfaces() -> None:
    fake = fake_of(line("fox"), Line((3000, 3001), fault="number"))
    with pytest.raises(RecognitionFailed, match="not a number"):
        run(fake, whisper(), [spoken(0, 1), spoken(1, 1)])


def test_what_a_computation_raises_surfaces() -> None:
    def broken() -> Computation[tuple[Segment, ...]]:
        yield from encoding(np.zeros(SAMPLE_RATE, np.float32))
        raise LookupError("no such voice")

    with pytest.raises(LookupError, match="no such voice"):
        run(fake_of(line("fox")), whisper(), [broken()])


def test_an_answer_of_the_wrong_kind_is_refused() -> None:
    fake = fake_of(line("fox"))
    (memory,) = fake.encode(EncoderBatch.of([whisper().features(np.zeros(160, np.float32), full=False)]))
    job = Job(memory, whisper().prompt(Options(), task="transcribe", language="en"), token_limit=1)
    waiting = decoding(job)
    assert next(waiting) is job
    with pytest.raises(TypeError, match="answered with a memory"):
        waiting.send(memory)
