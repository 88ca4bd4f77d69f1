"""The engine that the server has, asked from a script: bytes in, a transcript and the time it took out."""

import asyncio
import math
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from service.engine.engine import LocalEngine
from service.engine.gpu import read_gpus
from service.engine.types import Request, Served
from service.origins import read
from service.recognition.types import Options


@dataclass(frozen=True, slots=True)
class Timed:
    """What was served, and the seconds from the bytes to it."""

    served: Served
    seconds: float

    @property
    def text(self) -> str:
        return self.served.transcript.text

    @property
    def tokens(self) -> int:
        return sum(len(segment.tokens) for segment in self.served.transcript.segments)


class Serving:
    """The variants of a store in one engine, one request at a time. A context: it starts and ends the engine."""

    def __init__(self, store: Path, model: str, *, threads: int) -> None:
        self._runner = asyncio.Runner()
        # Other variants are not what is asked for, so their profiles can wait. How wrong this one is will be seen.
        given = {"store": store, "model": model, "threads": threads, "profile_s": 0}
        settings = read(given).settings.model_copy(update={"cascade": None})
        self._engine = LocalEngine(settings, smoke_tests=False)
        self._asked = settings.device

    def __enter__(self) -> Self:
        self._runner.run(self._engine.start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._runner.run(self._engine.close())
        self._runner.close()

    def gpus(self, model: str) -> tuple[str, ...]:
        """Names of the GPUs that a variant in memory computes on."""
        found = [info.device for info in self._engine.models() if info.manifest.name == model]
        return tuple(gpu.name for gpu in read_gpus(self._asked).gpus) if "cuda" in found else ()

    def transcribe(self, audio: bytes, model: str, *, language: str | None = None, words: bool = False) -> Timed:
        """All that a request costs but HTTP: decoding of the bytes, speech detection, recognition.

        Raises:
            WrenError: as the engine's seam has it.
        """
        request = Request(audio, model, Options(language=language, word_times=words), deadline_s=math.inf)
        started = time.perf_counter()
        served = self._runner.run(self._engine.transcribe(request))
        return Timed(served, time.perf_counter() - started)
