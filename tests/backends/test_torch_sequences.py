"""Rows whose tokens are chosen on the device say what the host would have chosen, in any company and order."""

import random
import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from service.backends.base import EncoderBatch
from service.backends.decoding import DecodeBatch
from service.backends.sequences import Ended, Hypothesis, Job, Prompt
from service.backends.torch.memory import UNROLLED
from service.backends.torch.network import Layers
from service.backends.torch.sequences import TorchSequences, _Step
from service.backends.torch.texts import gumbel
from service.errors import RecognitionFailed
from service.recognition.types import Options
from tests.backends.table_network import LENGTH, POSITIONS, TableBackend, TableNetwork, TableRules, memory
from tests.recognition.models import TINY, clips, whisper
from tests.torch_variants import torch_backend

STRIDES = (1, 3, 8)


def batch(network: TableNetwork, *, capacity: int = 8, stride: int = 1) -> TorchSequences:
    return TorchSequences(
        network, TableRules(), capacity=capacity, length=LENGTH, on_retry=lambda _: None, stride=stride
    )


def job(number: int, rng: random.Random | None = None, *, limit: int = 30, temperature: float = 0.0) -> Job:
    """The window of this number, prompted in one of several ways."""
    rng = rng or random.Random(number)
    before = tuple(rng.randrange(2, 30) for _ in range(rng.randrange(4)))
    given = tuple((rng.randrange(2, 30), -0.5) for _ in range(rng.choice((0, 0, 2))))
    return Job(
        memory(number, rng.randrange(3, LENGTH + 1)),
        Prompt((*before, 35, 36), start=len(before)),
        limit,
        temperature,
        seed=number,
        aligned=rng.random() < 0.5,
        probe=(10, 14) if rng.random() < 0.3 else None,
        given=given,
    )


def finished(rows: TorchSequences | DecodeBatch, jobs: Sequence[Job]) -> dict[int, Hypothesis | Exception]:
    """What the jobs become that are all there from the beginning."""
    ended = rows.join(jobs)
    while len(rows):
        ended += rows.step()
    return {id(one.job): one.result for one in ended}


def alone(network: TableNetwork, given: Job) -> Hypothesis:
    rows = DecodeBatch(TableBackend(network), TableRules(), capacity=1, length=LENGTH, on_retry=lambda _: None)
    (result,) = finished(rows, [given]).values()
    assert isinstance(result, Hypothesis)
    return result


def assert_same(ours: Hypothesis | Exception, theirs: Hypothesis) -> None:
    assert isinstance(ours, Hypothesis)
    assert ours.tokens == theirs.tokens
    assert ours.looped == theirs.looped
    assert ours.temperature == theirs.temperature
    np.testing.assert_allclose(
        [*ours.logprobs, ours.end_logprob, ours.no_speech_prob],
        [*theirs.logprobs, theirs.end_logprob, theirs.no_speech_prob],
        atol=1e-5,
    )
    np.testing.assert_allclose(ours.attention, theirs.attention, atol=1e-6)
    np.testing.assert_allclose(ours.probed, theirs.probed, atol=1e-6)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("ends", [-50.0, 0.0, 2.0])
def test_texts_are_those_that_the_host_chooses(ends: float, stride: int) -> None:
    network = TableNetwork(ends=ends)
    jobs = [job(number, limit=number % 40) for number in range(40)]
    found = {key: one for some in range(0, 40, 8) for key, one in _of(network, jobs[some : some + 8], stride).items()}
    for one in jobs:
        assert_same(found[id(one)], alone(network, one))


def _of(network: TableNetwork, jobs: Sequence[Job], stride: int) -> dict[int, Hypothesis | Exception]:
    return finished(batch(network, stride=stride), jobs)


@pytest.mark.parametrize("stride", STRIDES)
def test_loops_end_where_the_host_ends_them(stride: int) -> None:
    network = TableNetwork(ends=-50, loops=True)
    jobs = [job(number, limit=60) for number in range(8)]
    found = finished(batch(network, stride=stride), jobs)
    assert any(alone(network, one).looped for one in jobs)
    for one in jobs:
        assert_same(found[id(one)], alone(network, one))


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("seed", range(6))
def test_rows_that_come_and_go_say_what_they_say_alone(seed: int, stride: int) -> None:
    network, rng = TableNetwork(ends=1.0), random.Random(seed)
    rows, ended = batch(network, capacity=rng.randrange(2, 9), stride=stride), list[Ended]()
    waiting = [job(number, limit=rng.randrange(40)) for number in range(30)]
    dropped: set[int] = set()
    everyone = list(waiting)
    while waiting or len(rows):
        count = min(rng.randrange(4), len(waiting), rows.capacity - len(rows))
        ended += rows.join([waiting.pop() for _ in range(count)])
        if rng.random() < 0.1:
            gone = rng.choice(everyone)
            rows.drop(gone)
            dropped.add(id(gone))
        if len(rows):
            ended += rows.step()
    assert len(ended) >= 30 - len(dropped)
    for one in ended:
        assert_same(one.result, alone(network, one.job))


@pytest.mark.parametrize("stride", STRIDES)
def test_sampled_texts_do_not_hang_on_their_company(stride: int) -> None:
    network = TableNetwork(ends=0.5)
    jobs = [job(number, temperature=0.2 * (number % 5)) for number in range(8)]
    together = finished(batch(network, stride=stride), jobs)
    for one in jobs:
        (single,) = finished(batch(network, capacity=1), [one]).values()
        assert isinstance(single, Hypothesis)
        assert_same(together[id(one)], single)
    assert any(one.temperature and _tokens(together[id(one)]) != alone(network, one).tokens for one in jobs)


def _tokens(result: Hypothesis | Exception) -> tuple[int, ...]:
    assert isinstance(result, Hypothesis)
    return result.tokens


def test_sampling_follows_the_softmax() -> None:
    scores = torch.tensor([2.0, 1.0, 0.0, -1.0])
    seeds, count = torch.arange(20_000), torch.full((20_000,), 3)
    drawn = (scores + gumbel(seeds, count, 4)).argmax(-1)
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    torch.testing.assert_close(shares, scores.softmax(0), atol=0.012, rtol=0)
    later = (scores + gumbel(seeds, count + 1, 4)).argmax(-1)
    assert 0.3 < (later == drawn).float().mean() < 0.6  # as if drawn anew: the sum of the squared shares is 0.49


@pytest.mark.parametrize("stride", STRIDES)
def test_too_many_rows_are_halved(stride: int) -> None:
    network, told = TableNetwork(), list[Exception]()
    jobs = [job(number) for number in range(7)]
    expected = [alone(network, one) for one in jobs]
    network.most = 2
    rows = TorchSequences(network, TableRules(), capacity=8, length=LENGTH, on_retry=told.append, stride=stride)
    found = finished(rows, jobs)
    assert any(isinstance(error, MemoryError) for error in told)
    for one, theirs in zip(jobs, expected, strict=True):
        assert_same(found[id(one)], theirs)


@pytest.mark.parametrize("stride", STRIDES)
def test_what_fails_half_way_leaves_nothing(stride: int) -> None:
    network, told = TableNetwork(), list[Exception]()
    network.frail = frozenset({0, 9, 14, 20})
    rows = TorchSequences(network, TableRules(), capacity=8, length=LENGTH, on_retry=told.append, stride=stride)
    # One prompt for all, so that it is fed together: what fails with others is tried again.
    same = [replace(job(number), prompt=Prompt((2, 35, 36), 1), given=()) for number in range(6)]
    expected = [alone(TableNetwork(), one) for one in same]
    found = finished(rows, same)
    assert told
    for one, theirs in zip(same, expected, strict=True):
        assert_same(found[id(one)], theirs)


def test_a_failed_attempt_is_not_kept_in_memory() -> None:
    """What it had computed must be gone before fewer rows are tried."""
    network, held = TableNetwork(), list["weakref.ref[torch.Tensor]"]()
    rows = TorchSequences(
        network, TableRules(), capacity=4, length=LENGTH, on_retry=lambda _: alive.append(held[-1]() is not None)
    )
    alive: list[bool] = []
    rows.join([job(number) for number in range(4)])
    table = network.table

    class Watched:
        def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
            logits = table[index]
            held.append(weakref.ref(logits))
            if len(logits) > 1:
                raise MemoryError("too many rows")
            return logits

    network.table = Watched()  # type: ignore[assignment]
    rows.step()
    assert alive
    assert not any(alive)


def test_what_a_row_leaves_that_is_no_number_harms_no_later_one() -> None:
    one = torch_backend(TINY, "fp32-torch")
    (good,) = one.encode(EncoderBatch.of([whisper().features(clips()[0], full=False, waveform=True)]))
    (bad,) = one.encode(EncoderBatch.of([whisper().features(clips()[4], full=False, waveform=True)]))
    assert bad.length > good.length
    nothing = tuple(torch.full_like(tensor, float("nan")) for tensor in bad.layers.values)
    bad = replace(bad, layers=Layers(bad.layers.keys, nothing))
    prompt = whisper().prompt(Options(), task="transcribe", language="en")
    rows = one.sequences(whisper(), capacity=1, length=bad.length)
    first, spoilt, again = (finished(rows, [Job(memory, prompt, 20)]).popitem()[1] for memory in (good, bad, good))
    assert isinstance(spoilt, RecognitionFailed)
    assert isinstance(first, Hypothesis)
    assert_same(again, first)


def test_a_text_that_the_cache_cannot_hold_is_refused() -> None:
    rows = batch(TableNetwork())
    fits = Job(memory(1), Prompt((35,) * 90, 0), POSITIONS - 89)
    (refused,) = rows.join([replace(fits, token_limit=POSITIONS - 88)])
    assert isinstance(refused.result, ValueError)
    assert not rows.join([fits])


@pytest.mark.parametrize("stride", STRIDES)
def test_a_row_that_cannot_be_computed_takes_no_other_along(stride: int) -> None:
    network, jobs = TableNetwork(), [job(number) for number in range(6)]
    expected = [alone(network, one) for one in jobs]
    network.poison = 3.0
    found = finished(batch(network, stride=stride), jobs)
    assert isinstance(found.pop(id(jobs[3])), RuntimeError)
    for one, theirs in zip(jobs, expected, strict=True):
        if one is not jobs[3]:
            assert_same(found[id(one)], theirs)


@pytest.mark.parametrize("stride", STRIDES)
def test_a_row_whose_logits_are_no_numbers_fails_alone(stride: int) -> None:
    network, jobs = TableNetwork(ends=-50), [job(number) for number in range(4)]
    expected = [alone(network, one) for one in jobs]
    bad = job(100)
    bad.memory.layers.values[0].fill_(float("nan"))  # type: ignore[attr-defined]
    found = finished(batch(network, stride=stride), [*jobs, bad])
    assert isinstance(found[id(bad)], RecognitionFailed)
    for one, theirs in zip(jobs, expected, strict=True):
        assert_same(found[id(one)], theirs)


def test_a_memory_that_does_not_fit_is_its_own_fault() -> None:
    rows = batch(TableNetwork(), capacity=2)
    long = Job(memory(1, UNROLLED + 1), Prompt((35,), 0), 5)
    (refused,) = rows.join([job(1), long])
    assert refused.job is long
    assert isinstance(refused.result, ValueError)
    (over,) = rows.join([job(2), job(3)])
    assert isinstance(over.result, ValueError)
    assert len(rows) == 2


def test_a_job_without_tokens_ends_at_once() -> None:
    rows = batch(TableNetwork(), stride=8)
    asked = Job(memory(1), Prompt((35,), 0), 0, probe=(4, 9))
    (ended,) = rows.join([asked])
    assert isinstance(ended.result, Hypothesis)
    assert ended.result.probed.sum() == pytest.approx(1)
    assert len(rows) == 0


def test_a_step_waits_for_nothing() -> None:
    """Tensors of the device "meta" have no values: to look at one, or to mix them with others, is an error."""
    network = TableNetwork(device="meta")
    rows = batch(network, stride=2)
    rows._notes.make_looks()
    rows._advance(0, 4, 1, _Step(4, 64, sampled=True, aligned=True))
    assert network.steps == [4, 4]
    with pytest.raises(NotImplementedError, match="no data"):
        rows._notes.read(4, steps=2, looks=True)
