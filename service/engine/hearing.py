"""A recording's bytes to its windows, off the event loop.

Decoding, speech detection and cutting run in threads that recordings take in turns (`service.engine.turns`). What is
done for one window, such as its features, has threads of its own, so it never waits for a recording.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np

from service.audio.checkpoint import Abandoned, Checkpoint
from service.audio.decode import decode
from service.audio.resample import Limits
from service.audio.types import SAMPLE_RATE, Samples, Window
from service.audio.vad import SpeechDetector
from service.audio.windows import windows
from service.engine.turns import Turns
from service.engine.types import Request
from service.recognition.families.base import Family

T = TypeVar("T")

LEAST_THREADS = 2
"""So that a short recording need not wait for a long one on a single core either."""

MAX_GAP_S = 1.0
"""Seconds of silence that a segment without word times may span."""


@dataclass(slots=True, eq=False)
class Heard:
    """A recording cut into windows, and where the time went, milliseconds a stage: decode, vad."""

    windows: tuple[Window, ...]
    duration_s: float
    stage_ms: dict[str, float]


class Hearing:
    """The threads that work on audio; made for so many cores. `hear` belongs to one event loop."""

    def __init__(self, detector: SpeechDetector, *, threads: int, max_duration_s: float) -> None:
        self._detector = detector
        self.max_duration_s = max_duration_s
        self._limits = Limits(max_duration_s)
        at_once = max(LEAST_THREADS, threads)
        self._turns = Turns(at_once)
        self._recordings = ThreadPoolExecutor(at_once, thread_name_prefix="wren-audio")
        self._short = ThreadPoolExecutor(max(1, threads), thread_name_prefix="wren-window")
        self._closed = Event()

    @property
    def waiting(self) -> int:
        """Recordings that wait to be heard."""
        return self._turns.waiting

    async def hear(self, request: Request, family: Family) -> Heard:
        """Decode, find the speech, cut it into windows for this family. What is decoded already takes no turn.

        Cancelled while it waits, it never begins; later, its thread stops within some milliseconds.

        Raises:
            AudioError: as `service.audio.decode.decode` has it.
            asyncio.CancelledError: it was cancelled, or the hearing was closed.
        """
        unwanted = Event()

        def checkpoint() -> None:
            if unwanted.is_set() or self._closed.is_set():
                raise Abandoned

        audio = request.audio
        try:
            if isinstance(audio, np.ndarray):
                return await asyncio.wrap_future(self.submit(lambda: self._cut(audio, request, family, checkpoint)))
            async with self._turns.turn(request.size_bytes, client=request.client, priority=request.priority):
                return await asyncio.get_running_loop().run_in_executor(
                    self._recordings, lambda: self._heard(audio, request, family, checkpoint)
                )
        except Abandoned:
            raise asyncio.CancelledError("the engine was closed") from None
        finally:
            unwanted.set()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Milliseconds of work on a window, before all recordings; from any thread."""
        return self._short.submit(work)

    async def close(self) -> None:
        """Drop what waits, stop what runs, and wait for the threads to end."""
        self._closed.set()
        self._turns.cancel()
        for pool in (self._recordings, self._short):
            pool.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(pool.shutdown)

    def _heard(self, audio: bytes | Path, request: Request, family: Family, checkpoint: Checkpoint) -> Heard:
        started = time.perf_counter()
        decoded = decode(audio, raw=request.raw, limits=self._limits, checkpoint=checkpoint)
        decoded_at = time.perf_counter()
        heard = self._cut(decoded.samples, request, family, checkpoint)
        return replace(heard, stage_ms={"decode": 1e3 * (decoded_at - started), **heard.stage_ms})

    def _cut(self, samples: Samples, request: Request, family: Family, checkpoint: Checkpoint) -> Heard:
        started = time.perf_counter()
        spans = self._detector.spans(samples, request.vad, preceded=request.preceded, checkpoint=checkpoint)
        cut = windows(
            samples,
            spans,
            target_s=family.target_window_s,
            max_s=family.max_window_s,
            max_gap_s=math.inf if family.position_s else MAX_GAP_S,
            checkpoint=checkpoint,
        )
        return Heard(cut, len(samples) / SAMPLE_RATE, {"vad": 1e3 * (time.perf_counter() - started)})
