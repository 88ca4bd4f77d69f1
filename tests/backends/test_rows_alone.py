"""Row i of any batch is the same window alone: every backend and precision, awkward lengths, rows that come and go."""

import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from service.audio.types import SAMPLE_RATE, Samples
from service.backends.base import Backend, EncoderBatch
from service.backends.onnx import OnnxMemory
from service.backends.sequences import Ended, Hypothesis, Job, Memory
from service.backends.torch.memory import TorchMemory
from service.recognition.decoding import decode
from service.recognition.families import load
from service.recognition.families.base import Family
from service.recognition.types import Options, Task
from tests.audio.speech import talk
from tests.recognition.models import BASE, TINY, backend
from tests.store import folder
from tests.torch_variants import torch_backend

MOONSHINE = "moonshine-tiny"
CASES = (
    *((TINY, "fp32"), (TINY, "int8"), (BASE, "int8"), (MOONSHINE, "fp32"), (MOONSHINE, "int8")),
    *((TINY, "fp32-torch"), (TINY, "bf16-torch"), (TINY, "int8-torch"), (BASE, "int8-torch")),
    *((MOONSHINE, "fp32-torch"), (MOONSHINE, "int8-torch")),
)

TICK = SAMPLE_RATE // 100
"""Samples of a frame; an encoder position is two."""

LENGTHS = (
    *(1, TICK - 1, TICK, TICK + 1, 2 * TICK - 1, 2 * TICK, 2 * TICK + 1, 30 * TICK),
    *(SAMPLE_RATE, 5 * SAMPLE_RATE, 9 * SAMPLE_RATE, 30 * SAMPLE_RATE - TICK, 30 * SAMPLE_RATE),
)
CHEAP = len(LENGTHS) - 2
"""So many of them take less than a tenth of a second to encode."""

PROMPTS = ("", "And so on, he said.", "Kubernetes, and what we said before it")

TASKS: tuple[Task, ...] = ("transcribe", "translate")

TOLERANCE = 1e-4
"""Of a log-probability or an attention weight. With the kernels for AVX-512 the difference is none at all; elsewhere a
sum may be split up by the number of rows, and a few units of the last place are allowed for it."""

TOLERANCE_BF16 = 0.1
"""There a unit of the last place is 0.4 %, of a logit 0.03 to 0.06, and some products differ by one for a row alone."""


@cache
def family(model: str) -> Family:
    return load(folder(model, "int8"))


def loaded(case: tuple[str, str]) -> Backend:
    return torch_backend(*case) if case[1].endswith("-torch") else backend(*case)


def encoded(case: tuple[str, str], *indices: int) -> Sequence[Memory]:
    features = [family(case[0]).features(windows()[index], full=False, waveform=True) for index in indices]
    if not loaded(case).takes_samples:
        features = [family(case[0]).features(windows()[index], full=False) for index in indices]
    return loaded(case).encode(EncoderBatch.of(features))


def layers(memory: Memory) -> Sequence[np.ndarray]:
    """Keys and values, in turn."""
    if isinstance(memory, OnnxMemory):
        return memory.layers
    assert isinstance(memory, TorchMemory)
    return [one.float().numpy() for one in (*memory.layers.keys, *memory.layers.values)]


@cache
def windows() -> tuple[Samples, ...]:
    """Speech of many languages, which models of one are never sure of, cut where it happens to be."""
    speech, rng = np.tile(talk(), 2), random.Random(3)
    starts = [rng.randrange(len(speech) - length) for length in LENGTHS]
    return tuple(speech[start : start + length] for start, length in zip(starts, LENGTHS, strict=True))


@cache
def memory(case: tuple[str, str], index: int) -> Memory:
    """Of a window encoded alone."""
    (found,) = encoded(case, index)
    return found


@cache
def jobs(case: tuple[str, str]) -> tuple[Job, ...]:
    """A window each; some prompted, some translated, some sampled, some aligned."""
    one, rng, found = family(case[0]), random.Random(4), []
    for index in range(len(LENGTHS)):
        options = Options(prompt=rng.choice(PROMPTS))
        prompt = one.prompt(options, task=rng.choice(TASKS), language=rng.choice(one.languages[:4]))
        temperature, aligned = rng.choice((0.0, 0.0, 0.6)), rng.random() < 0.5
        found.append(Job(memory(case, index), prompt, 12, temperature, seed=index, aligned=aligned))
    return tuple(found)


@cache
def alone(case: tuple[str, str]) -> tuple[Hypothesis, ...]:
    return tuple(decode(loaded(case), family(case[0]), [job])[0] for job in jobs(case))


def together(case: tuple[str, str], given: Sequence[Job], rng: random.Random) -> list[Ended]:
    """The jobs in a batch of random size that they join when there is room; now and then one is dropped."""
    length = max(job.memory.length for job in given) + rng.choice((0, 1, 2, 3, 50, 333))
    rows = loaded(case).sequences(family(case[0]), capacity=rng.randrange(2, 9), length=length)
    waiting, ended = list(given), []
    while waiting or len(rows):
        count = min(rng.randrange(4), len(waiting), rows.capacity - len(rows))
        ended += rows.join([waiting.pop() for _ in range(count)])
        if rng.random() < 0.05:
            rows.drop(rng.choice(given))
        if len(rows):
            ended += rows.step()
    return ended


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", CASES, ids=":".join)
def test_a_row_decodes_in_any_company_as_alone(case: tuple[str, str], seed: int) -> None:
    rng = random.Random(seed)
    order = rng.sample(range(len(LENGTHS)), rng.randrange(6, len(LENGTHS) + 1))
    indices = {jobs(case)[index]: index for index in order}
    ended = together(case, list(indices), rng)
    tolerance = TOLERANCE_BF16 if case[1].startswith("bf16") else TOLERANCE
    assert len(ended) > len(order) // 2
    for one in ended:
        ours, theirs = one.result, alone(case)[indices[one.job]]
        assert isinstance(ours, Hypothesis)
        assert ours.tokens == theirs.tokens, f"{LENGTHS[indices[one.job]]} samples"
        assert ours.looped == theirs.looped
        np.testing.assert_allclose(
            [*ours.logprobs, ours.end_logprob, ours.no_speech_prob],
            [*theirs.logprobs, theirs.end_logprob, theirs.no_speech_prob],
            atol=tolerance,
        )
        np.testing.assert_allclose(ours.attention, theirs.attention, atol=tolerance)


@pytest.mark.parametrize("case", CASES, ids=":".join)
def test_a_row_of_a_padded_batch_is_encoded_as_alone(case: tuple[str, str]) -> None:
    order = random.Random(5).sample(range(CHEAP), 6)
    found = encoded(case, *order)
    assert len(found) == len(order)
    for ours, index in zip(found, order, strict=True):
        theirs = memory(case, index)
        assert ours.length == theirs.length
        for layer, single in zip(layers(ours), layers(theirs), strict=True):
            np.testing.assert_array_equal(layer, single)
