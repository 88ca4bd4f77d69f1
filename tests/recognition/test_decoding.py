import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from service.backends.base import EncoderBatch, Features
from service.backends.decoding import DecodeBatch
from service.backends.fake import FakeBackend, Fault, Line
from service.backends.sequences import Ended, Hypothesis, Job, Prompt
from service.errors import RecognitionFailed
from service.recognition.decoding import decode
from service.recognition.types import Options
from tests.recognition.models import BASE, whisper

END = 50_256
NO_SPEECH = 50_361


def says(
    *words: int,
    logit: float = 30.0,
    at_start: tuple[int, float] | None = None,
    fault: Fault | None = None,
    sound: int = 0,
) -> Line:
    """A line of words: tokens from 3000 on, none of which is suppressed."""
    return Line(tuple(3000 + word for word in words), logit, at_start, fault, sound)


def words(hypothesis: Hypothesis) -> tuple[int, ...]:
    return tuple(token - 3000 for token in hypothesis.tokens)


def backend(*lines: Line) -> FakeBackend:
    return FakeBackend(lines, vocabulary=51_864, end_token=END)


def blank(length: int) -> EncoderBatch:
    places = np.zeros(length, np.int64)
    return EncoderBatch.of([Features(np.zeros((80, 2), np.float32), 0.0, places, places, places.astype(np.float32))])


def jobs(
    fake: FakeBackend, *, prompts: tuple[str, ...] = ("",), lengths: tuple[int, ...] = (50,), limit: int = 100,
    temperature: float = 0.0, seed: int = 0,
) -> list[Job]:  # fmt: skip
    found = []
    for index in range(len(fake.lines)):
        length = lengths[index % len(lengths)]
        (memory,) = fake.encode(blank(length))
        options = Options(prompt=prompts[index % len(prompts)])
        prompt = whisper().prompt(options, task="transcribe", language="en")
        found.append(Job(memory, prompt, limit, temperature, seed))
    return found


def decoded(fake: FakeBackend, given: list[Job]) -> list[Hypothesis]:
    return decode(fake, whisper(), given)


def test_rows_say_their_lines_in_the_order_of_the_jobs() -> None:
    lines = [says(10, 11, 12, 13), says(20), says(30, 31), says(40, 41, 42, 43, 44, 45)]
    fake = backend(*lines)
    found = decoded(fake, jobs(fake))
    assert [one.tokens for one in found] == [line.tokens for line in lines]
    assert all(abs(one.avg_logprob) < 1e-3 and not one.looped for one in found)


def test_rows_leave_as_they_end() -> None:
    fake = backend(says(10, 11, 12), says(20), says(30, 31))
    decoded(fake, jobs(fake))
    assert fake.steps == [3, 3, 2, 1]


def test_prompts_of_different_length_are_primed_apart() -> None:
    lines = [says(10, 11), says(20), says(30, 31, 32), says(40)]
    fake = backend(*lines)
    found = decoded(fake, jobs(fake, prompts=("", "before", "before", "long before")))
    assert [one.tokens for one in found] == [line.tokens for line in lines]
    assert fake.steps[:3] == [1, 2, 1]
    assert fake.steps[3] == 4


def test_a_window_may_say_nothing() -> None:
    """A first token that ends the text is suppressed, as the original has it; what is left has little weight."""
    fake = backend(says(logit=5.0))
    (found,) = decoded(fake, jobs(fake, limit=1))
    assert len(found.tokens) == 1
    assert found.logprobs[0] < -5


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_text_is_cut_at_its_limit(limit: int) -> None:
    fake = backend(says(*range(10, 60)), says(10))
    long, short = decoded(fake, jobs(fake, limit=limit))
    assert words(long) == tuple(range(10, 10 + limit))
    assert long.end_logprob == 0
    assert words(short) == (10,)


def test_a_loop_is_stopped_and_leaves_the_others_alone() -> None:
    line = tuple(range(10, 50))
    fake = backend(says(*(5, 6, 7) * 60), says(*line))
    loop, speech = decoded(fake, jobs(fake, limit=200))
    assert loop.looped
    assert len(loop.tokens) < 30
    assert (speech.looped, words(speech)) == (False, line)


@pytest.mark.parametrize("token", [END + 1, NO_SPEECH, 50_363, 51_863])
def test_control_tokens_are_not_said(token: int) -> None:
    fake = backend(Line((3010, token, 3012)))
    (found,) = decoded(fake, jobs(fake))
    assert token not in found.tokens
    assert words(found)[::2] == (10, 12)


def test_sampling_is_the_same_every_time_and_differs_by_seed() -> None:
    fake = backend(says(*range(10, 40), logit=9.0))

    def sampled(seed: int) -> tuple[int, ...]:
        return decoded(fake, jobs(fake, temperature=1.0, seed=seed, limit=30))[0].tokens

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_a_low_temperature_keeps_to_what_is_probable() -> None:
    fake = backend(says(*range(10, 40), logit=9.0))
    (cool,) = decoded(fake, jobs(fake, temperature=0.2))
    (hot,) = decoded(fake, jobs(fake, temperature=1.0, limit=30))
    assert words(cool) == tuple(range(10, 40))
    assert sum(ours == theirs for ours, theirs in zip(words(hot), range(10, 40), strict=False)) < 25
    assert (cool.temperature, hot.temperature) == (0.2, 1.0)


def test_log_probabilities_are_at_temperature_one() -> None:
    fake = backend(says(10, logit=12.0))
    found = [decoded(fake, jobs(fake, temperature=temperature))[0] for temperature in (0.0, 0.2)]
    assert found[0].logprobs == found[1].logprobs
    allowed = np.isfinite(whisper().first_mask).sum()
    assert found[0].logprobs[0] == pytest.approx(12 - np.log(np.exp(12) + allowed - 1), abs=1e-4)


def test_the_probability_of_silence_is_read_at_the_start() -> None:
    fake = backend(says(10, at_start=(NO_SPEECH, 40.0)), says(10))
    silence, speech = decoded(fake, jobs(fake, prompts=("", "before")))
    assert silence.no_speech_prob == pytest.approx(1.0)
    assert speech.no_speech_prob == pytest.approx(1 / 51_864, rel=1e-2)


def test_attention_is_kept_for_every_token_and_the_end() -> None:
    fake = backend(says(10, 11, 12), says(20))
    long, short = decoded(fake, jobs(fake, lengths=(50, 35)))
    assert (long.attention.shape, short.attention.shape) == ((1, 4, 50), (1, 2, 35))
    assert long.attention[0].argmax(axis=1).tolist() == [0, 10, 20, 30]
    assert short.attention[0].argmax(axis=1).tolist() == [0, 10]


def test_what_is_probed_at_the_start_is_told_among_itself() -> None:
    family = whisper(BASE)
    assert family.first_language_token is not None
    first = family.first_language_token
    german = first + family.languages.index("de")
    fake = FakeBackend([Line((german,), logit=8.0)], vocabulary=51_865, end_token=family.end_token)
    (memory,) = fake.encode(blank(9))
    job = Job(memory, Prompt((50_258,), start=0), token_limit=0, probe=(first, first + len(family.languages)))
    (found,) = decode(fake, family, [job])
    assert found.tokens == ()
    assert found.probed.shape == (99,)
    assert found.probed.sum() == pytest.approx(1)
    assert family.languages[int(found.probed.argmax())] == "de"
    assert fake.steps == [1]


def test_nothing_is_probed_that_is_not_asked_for() -> None:
    fake = backend(says(10))
    (found,) = decoded(fake, jobs(fake))
    assert found.probed.size == 0


def test_the_start_may_stand_anywhere_in_the_prompt() -> None:
    fake = backend(says(10, at_start=(NO_SPEECH, 40.0)))
    (job,) = jobs(fake)
    (found,) = decoded(fake, [Job(job.memory, Prompt((50_360, 7, 50_257, 50_362), start=2), 5)])
    assert (words(found), round(found.no_speech_prob, 3)) == ((10,), 1.0)


def batch(fake: FakeBackend, *, capacity: int = 8, length: int = 60) -> DecodeBatch:
    return fake.sequences(whisper(), capacity=capacity, length=length)


def finished(rows: DecodeBatch, ended: Sequence[Ended] = ()) -> dict[Job, Hypothesis | Exception]:
    """What became of the jobs that ended, and of those that are stepped to their ends now."""
    found = list(ended)
    while len(rows):
        found += rows.step()
    return {one.job: one.result for one in found}


def said(found: dict[Job, Hypothesis | Exception], given: Sequence[Job]) -> list[tuple[int, ...]]:
    """The words of jobs that ended well."""
    results = [found[job] for job in given]
    return [words(result) for result in results if isinstance(result, Hypothesis)]


def various(rng: random.Random) -> list[Job]:
    """A dozen lines of nothing to twenty words, in memories of all lengths, some prompted, some sampled."""
    fake = backend(*(says(*rng.sample(range(100), rng.randrange(1, 20)), logit=9.0) for _ in range(12)))
    given = jobs(fake, prompts=("", "before", "long before"), lengths=(20, 35, 50, 60), limit=15)
    return [replace(job, temperature=rng.choice([0.0, 0.7]), seed=index) for index, job in enumerate(given)]


@pytest.mark.parametrize("seed", range(8))
def test_rows_that_join_at_any_step_say_what_they_say_alone(seed: int) -> None:
    rng = random.Random(seed)
    given = various(rng)
    fake = backend(says(1))
    rows, ended, waiting = batch(fake, capacity=rng.randrange(1, 6)), [], list(given)
    while waiting or len(rows):
        count = min(rng.randrange(4), len(waiting), rows.capacity - len(rows))
        ended += rows.join([waiting.pop() for _ in range(count)])
        if len(rows):
            ended += rows.step()
    found = finished(rows, ended)
    for job in given:
        together, (alone,) = found[job], decode(fake, whisper(), [job])
        assert isinstance(together, Hypothesis)
        assert (together.tokens, together.logprobs) == (alone.tokens, alone.logprobs)
        assert (together.end_logprob, together.no_speech_prob) == (alone.end_logprob, alone.no_speech_prob)
        np.testing.assert_array_equal(together.attention, alone.attention)


@pytest.mark.parametrize("dropped", range(4))
def test_a_row_that_is_dropped_leaves_the_others_as_they_are(dropped: int) -> None:
    lines = [(10, 11, 12, 13), (20, 21, 22), (30, 31, 32, 33, 34), (40, 41)]
    fake = backend(*(says(*line) for line in lines))
    given, rows = jobs(fake), batch(fake)
    ended = [*rows.join(given), *rows.step()]
    rows.drop(given[dropped])
    assert len(rows) == 3
    found = finished(rows, ended)
    rest = [job for job in given if job is not given[dropped]]
    assert set(found) == set(rest)
    assert said(found, rest) == [line for index, line in enumerate(lines) if index != dropped]


def test_a_place_that_was_dropped_is_taken_by_the_next() -> None:
    fake = backend(says(10, 11, 12), says(20, 21, 22), says(30, 31))
    (first, second, third), rows = jobs(fake), batch(fake, capacity=2)
    ended = rows.join([first, second])
    rows.drop(first)
    ended += rows.join([third])
    assert said(finished(rows, ended), [second, third]) == [(20, 21, 22), (30, 31)]


def test_what_has_left_can_be_dropped_again() -> None:
    fake = backend(says(10), says(20, 21, 22))
    (short, long), rows = jobs(fake), batch(fake)
    rows.join([short, long])
    ended = rows.step()
    assert [one.job for one in ended] == [short]
    rows.drop(short)
    assert said(finished(rows), [long]) == [(20, 21, 22)]


@pytest.mark.parametrize("sound", [0, 1, 2])
@pytest.mark.parametrize("place", range(3))
def test_a_step_that_fails_is_tried_row_by_row_and_only_the_faulty_one_is_lost(place: int, sound: int) -> None:
    """`sound` 0: its prompt cannot be computed."""
    lines = [says(10, 11, 12, 13), says(20, 21, 22)]
    lines.insert(place, says(30, 31, 32, 33, fault="step", sound=sound))
    fake = backend(*lines)
    given, rows = jobs(fake), batch(fake)
    found = finished(rows, rows.join(given))
    bad = given.pop(place)
    assert isinstance(found[bad], RuntimeError)
    assert said(found, given) == [(10, 11, 12, 13), (20, 21, 22)]
    assert fake.steps == [*[3] * sound, 3, 1, 1, 1, *[2] * (3 - sound), 1]


def test_a_prompt_that_fails_leaves_those_that_run_alone() -> None:
    fake = backend(says(10, 11, 12), says(20, 21, 22), says(30, fault="step"))
    (first, second, bad), rows = jobs(fake), batch(fake)
    ended = [*rows.join([first]), *rows.step(), *rows.join([bad, second])]
    assert [one.job for one in ended] == [bad]
    assert said(finished(rows, ended), [first, second]) == [(10, 11, 12), (20, 21, 22)]


@pytest.mark.parametrize("sound", [0, 2])
def test_a_row_whose_logits_are_no_numbers_ends_alone(sound: int) -> None:
    fake = backend(says(10, 11, 12), says(20, 21, 22, 23, fault="number", sound=sound), says(30, 31, 32))
    (first, bad, last), rows = jobs(fake), batch(fake)
    found = finished(rows, rows.join([first, bad, last]))
    assert isinstance(found[bad], RecognitionFailed)
    assert said(found, [first, last]) == [(10, 11, 12), (30, 31, 32)]
    assert 1 not in fake.steps


def test_a_probe_that_finds_no_numbers_fails() -> None:
    fake = backend(says(10, fault="number"))
    (job,) = jobs(fake, limit=0)
    with pytest.raises(RecognitionFailed, match="not a number"):
        decoded(fake, [replace(job, probe=(0, 5))])


def test_a_memory_that_does_not_fit_is_the_fault_of_its_row() -> None:
    fake = backend(says(10, 11), says(20), says(30, 31))
    (first, long, last), rows = jobs(fake, lengths=(50, 61, 60)), batch(fake)
    found = finished(rows, rows.join([first, long, last]))
    assert isinstance(found[long], ValueError)
    assert said(found, [first, last]) == [(10, 11), (30, 31)]


def test_a_batch_that_is_full_takes_no_more() -> None:
    fake = backend(says(10, 11), says(20), says(30, 31))
    given, rows = jobs(fake), batch(fake, capacity=2)
    found = finished(rows, rows.join(given))
    assert isinstance(found[given[2]], ValueError)
    assert said(found, given[:2]) == [(10, 11), (20,)]


def test_decoding_together_raises_what_went_wrong_with_one() -> None:
    fake = backend(says(10, 11), says(20, fault="step"))
    with pytest.raises(RuntimeError, match="fails to step"):
        decoded(fake, jobs(fake))
