"""A loaded variant in; how long its encoder batches and decoder steps take here out."""

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from service.audio.types import MAX_WINDOW_S, SAMPLE_RATE, Samples
from service.backends.base import Backend, EncoderBatch, Floats
from service.backends.repetition import TOKENS
from service.backends.sequences import Job, Memory, TokenRules
from service.engine.forming import EncodeCosts, Layout, Point, rows_worth
from service.engine.lanes import BUCKETS
from service.engine.plan import UTTERANCE_S
from service.engine.profile import Profile
from service.recognition.computation import Encode, encode
from service.recognition.recognizer import Recognizer
from service.recognition.types import Options

PROMPT_AND_END = 2

STEPS = 16 + PROMPT_AND_END
"""Of the decoder for a window of `UTTERANCE_S`: utterances of 5 to 7 s that are read aloud have 16 tokens."""

WINDOWS_S = (2.0, UTTERANCE_S, 15.0, float(MAX_WINDOW_S))
"""Lengths whose encoding is timed for a whole profile."""

REPEATS = 3


def measure(recognizer: Recognizer, *, most_rows: int) -> Profile:
    """What the scheduler needs to know, in some tenths of a second."""
    points = encodings(recognizer, (UTTERANCE_S,))
    step_ms = {point.rows: point.ms for point in steppings(recognizer, BUCKETS[:1], most_rows=most_rows)}
    encode_ms = min(point.ms / point.rows for point in points)
    rows, reason = rows_worth(step_ms, encode_ms, steps=STEPS, most=most_rows)
    window_ms = encode_ms + STEPS * step_ms[rows] / rows
    return Profile(EncodeCosts(points), rows, reason, 1e3 * UTTERANCE_S / window_ms)


def encodings(recognizer: Recognizer, windows_s: tuple[float, ...]) -> tuple[Point, ...]:
    """Encoder batches of windows of these lengths, each as the family pads it."""
    backend = recognizer.backend
    points = []
    for window_s in windows_s:
        features = recognizer.features(Encode(_window(window_s)))
        for rows in _powers(backend.encoder_rows):
            batch = EncoderBatch.of([features] * rows)
            points.append(Point(rows, features.length, _median_ms(partial(_encode, backend, batch))))
    return tuple(points)


def _encode(backend: Backend, batch: EncoderBatch) -> None:
    backend.encode(batch)
    backend.finish()


def steppings(recognizer: Recognizer, lengths: tuple[int, ...], *, most_rows: int) -> tuple[Point, ...]:
    """Decoder steps of batches with memory for so many positions."""
    memory = _encoded(recognizer)
    return tuple(
        Point(rows, length, _step_ms(recognizer, memory, rows, length))
        for length in lengths
        for rows in _powers(most_rows)
    )


def _step_ms(recognizer: Recognizer, memory: Memory, rows: int, length: int) -> float:
    step, stride = _stepper(recognizer, memory, rows, length)
    return _median_ms(step) / stride


def throughput(recognizer: Recognizer, profile: Profile, layout: Layout, *, seconds: float) -> float:
    """Windows of `UTTERANCE_S` a second that all executors of a layout compute at once."""
    ready = threading.Barrier(layout.executors)

    def one_executor(_: int) -> float:
        try:
            step, stride = _stepper(recognizer, _encoded(recognizer), profile.rows, BUCKETS[0])
        except BaseException:
            ready.abort()  # the others would wait for ever
            raise
        ready.wait()
        started = time.perf_counter()
        done, steps = 0, 0.0
        while time.perf_counter() < started + seconds:
            _encoded(recognizer)
            steps += STEPS / profile.rows
            while steps >= stride:
                step()
                steps -= stride
            done += 1
        return done / (time.perf_counter() - started)

    with ThreadPoolExecutor(layout.executors) as pool:
        return sum(pool.map(one_executor, range(layout.executors)))


def _encoded(recognizer: Recognizer) -> Memory:
    return encode(recognizer.backend, recognizer.family, Encode(_window(UTTERANCE_S)))


@dataclass(frozen=True, slots=True, eq=False)
class _Endless:
    """The rules of a family but that no text ends: all rows are there to the last step that is timed."""

    end_token: int
    no_speech_token: int | None
    first_mask: Floats
    mask: Floats

    @classmethod
    def of(cls, rules: TokenRules) -> Self:
        masks = rules.first_mask.copy(), rules.mask.copy()
        for mask in masks:
            mask[rules.end_token] = -np.inf
        return cls(rules.end_token, rules.no_speech_token, *masks)


def _stepper(recognizer: Recognizer, memory: Memory, count: int, length: int) -> tuple[Callable[[], object], int]:
    """What steps so many rows, which begin anew when they are full, and the tokens that each gains by it."""
    family = recognizer.family
    prompt = family.prompt(Options(), task="transcribe", language=family.languages[0])
    # Fewer tokens than could be taken for a loop.
    jobs = [Job(memory, prompt, token_limit=TOKENS - 1, aligned=False) for _ in range(count)]
    rows = recognizer.backend.sequences(
        _Endless.of(family), capacity=count, length=max(length, memory.length), on_retry=_raised
    )

    def step() -> object:
        if not len(rows):
            rows.join(jobs)
        return rows.step()

    step()
    return step, rows.stride


def _raised(error: Exception) -> None:
    """Who is timed is not tried again with fewer rows."""
    raise error


def _powers(most: int) -> tuple[int, ...]:
    """1, 2, 4, … up to `most`."""
    return tuple(2**power for power in range(most.bit_length()))


def _window(seconds: float) -> Samples:
    """Noise: what it is changes no time."""
    return np.random.default_rng(0).normal(0, 0.1, int(seconds * SAMPLE_RATE)).astype(np.float32)


def _median_ms(compute: Callable[[], object]) -> float:
    spent = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        compute()
        spent.append(1e3 * (time.perf_counter() - started))
    return statistics.median(spent)
