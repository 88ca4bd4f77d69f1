"""What recognition wants computed, and how it asks: one window's way is a generator of requests to a backend.

It yields an `Encode` or a `Job`, is sent the memory or the hypothesis, and returns what it was for. Whoever drives the
generators decides what is computed when and with what else in the batch: the engine for the windows of all clients,
`run` for a script's.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from service.audio.types import Samples
from service.backends.base import Backend, EncoderBatch, Features
from service.backends.sequences import Hypothesis, Job, Memory
from service.recognition.decoding import decode
from service.recognition.families.base import Family

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Encode:
    """Samples of one window to encode; `full` with all the positions that the model was trained on."""

    samples: Samples
    full: bool = False


Ask = Encode | Job
Answer = Memory | Hypothesis
Computation = Generator[Ask, Answer, T]


def encoding(samples: Samples, *, full: bool = False) -> Computation[Memory]:
    """The memory of a window."""
    answer = yield Encode(samples, full)
    if isinstance(answer, Hypothesis):
        raise TypeError("an encoding was answered with a hypothesis")
    return answer


def decoding(job: Job) -> Computation[Hypothesis]:
    """The hypothesis of a job."""
    answer = yield job
    if not isinstance(answer, Hypothesis):
        raise TypeError("a decoding was answered with a memory")
    return answer


def features(backend: Backend, family: Family, ask: Encode) -> Features:
    """What the backend takes of a window; from any thread."""
    return family.features(ask.samples, full=ask.full, waveform=backend.takes_samples)


def encode(backend: Backend, family: Family, ask: Encode) -> Memory:
    """One window alone."""
    (memory,) = backend.encode(EncoderBatch.of([features(backend, family, ask)]))
    return memory


def run(backend: Backend, family: Family, computations: Sequence[Computation[T]]) -> list[T]:
    """Drive computations to their ends in this thread: encode one by one, decode all together.

    Raises:
        Exception: what the backend raised.
    """
    answers: dict[int, Answer | None] = dict.fromkeys(range(len(computations)))
    done: dict[int, T] = {}
    while answers:
        asks: dict[int, Ask] = {}
        for index, answer in answers.items():
            computation = computations[index]
            try:
                asks[index] = next(computation) if answer is None else computation.send(answer)
            except StopIteration as end:
                done[index] = end.value
        answers = _answered(backend, family, asks)
    return [done[index] for index in range(len(computations))]


def _answered(backend: Backend, family: Family, asks: Mapping[int, Ask]) -> dict[int, Answer | None]:
    jobs = {index: ask for index, ask in asks.items() if isinstance(ask, Job)}
    hypotheses = decode(backend, family, list(jobs.values()))
    memories = {index: encode(backend, family, ask) for index, ask in asks.items() if isinstance(ask, Encode)}
    return {**dict(zip(jobs, hypotheses, strict=True)), **memories}
