"""What a variant costs on this machine, measured when it is loaded: how many rows a decode batch should have."""

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from model_store.manifest import Manifest
from service.audio.types import SAMPLE_RATE
from service.backends.base import EncoderBatch, Memory
from service.engine.forming import EncodeCosts, Layout, Point, rows_worth
from service.recognition.computation import Encode, encode
from service.recognition.recognizer import Recognizer
from service.recognition.types import Options

WINDOW_S = 6.0
STEPS = 24
"""A window as clients send them: seconds of speech, and tokens that it has."""

REPEATS = 3


@dataclass(frozen=True, slots=True)
class Profile:
    """Measured costs of a variant.

    Attributes:
        encode: of encoder batches.
        rows: of a decode batch, with the reason.
        speed: seconds of audio a second that one executor can do with that many rows.
    """

    encode: EncodeCosts
    rows: int
    reason: str
    speed: float


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Hosted:
    """A variant in memory with what it costs here."""

    manifest: Manifest
    recognizer: Recognizer
    profile: Profile


def measure(recognizer: Recognizer, *, most_rows: int) -> Profile:
    """Time encoder batches and decoder steps, some tenths of a second in all."""
    memory, points = _encodings(recognizer)
    sizes = [rows for rows in (1, 2, 4, 8, 16, 32, 64) if rows <= most_rows]
    step_ms = {rows: _step_ms(recognizer, memory, rows) for rows in sizes}
    encode_ms = points[0].ms
    rows, reason = rows_worth(step_ms, encode_ms, steps=STEPS, most=most_rows)
    window_ms = encode_ms + STEPS * step_ms[rows] / rows
    return Profile(EncodeCosts(points), rows, reason, 1e3 * WINDOW_S / window_ms)


def throughput(recognizer: Recognizer, profile: Profile, layout: Layout, *, seconds: float) -> float:
    """Windows a second that all executors of a layout compute at once."""
    ready = threading.Barrier(layout.executors)

    def windows_per_s(_: int) -> float:
        step = _stepper(recognizer, _encoded(recognizer), profile.rows)
        ready.wait()
        started = time.perf_counter()
        done, steps = 0, 0.0
        while time.perf_counter() < started + seconds:
            _encoded(recognizer)
            steps += STEPS / profile.rows
            while steps >= 1:
                step()
                steps -= 1
            done += 1
        return done / (time.perf_counter() - started)

    with ThreadPoolExecutor(layout.executors) as pool:
        return sum(pool.map(windows_per_s, range(layout.executors)))


def _encodings(recognizer: Recognizer) -> tuple[Memory, tuple[Point, ...]]:
    family, backend = recognizer.family, recognizer.backend
    features = family.features(_window(), full=False)
    points = []
    rows = 1
    while rows <= backend.encoder_rows:
        batch = EncoderBatch.of([features] * rows)
        points.append(Point(rows, features.length, _median_ms(partial(backend.encode, batch))))
        rows *= 2
    return _encoded(recognizer), tuple(points)


def _encoded(recognizer: Recognizer) -> Memory:
    return encode(recognizer.backend, recognizer.family, Encode(_window()))


def _step_ms(recognizer: Recognizer, memory: Memory, rows: int) -> float:
    return _median_ms(_stepper(recognizer, memory, rows))


def _stepper(recognizer: Recognizer, memory: Memory, count: int) -> Callable[[], object]:
    """A decoder step of so many rows, which begin anew before their caches are full."""
    family = recognizer.family
    prompt = family.prompt(Options(), task="transcribe", language=family.languages[0])
    prompts = np.array([prompt.tokens] * count, np.int64)
    tokens = prompts[:, -1:]
    rows = recognizer.backend.open(capacity=count, length=memory.length)
    fed = 0

    def step() -> object:
        nonlocal fed
        if fed % STEPS == 0:
            for slot in reversed(range(len(rows))):
                rows.leave(slot)
            for _ in range(count):
                rows.join(memory)
            rows.step(prompts)
        fed += 1
        return rows.step(tokens)

    step()
    return step


def _window() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Noise: what it is changes no time."""
    return np.random.default_rng(0).normal(0, 0.1, int(WINDOW_S * SAMPLE_RATE)).astype(np.float32)


def _median_ms(compute: Callable[[], object]) -> float:
    spent = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        compute()
        spent.append(1e3 * (time.perf_counter() - started))
    return statistics.median(spent)
