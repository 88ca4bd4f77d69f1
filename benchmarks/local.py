"""The engine that the server has, asked from a script: bytes in, a transcript and the time it took out."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from model_store.manifest import Manifest
from model_store.registry import Registry
from service.engine.choice import choose
from service.engine.device import read_device
from service.engine.engine import LocalEngine
from service.engine.types import Request, Served
from service.recognition.types import Options
from service.settings import Settings


@dataclass(frozen=True)
class Timed:
    served: Served
    seconds: float

    @property
    def text(self) -> str:
        return self.served.transcript.text


class Wren:
    """Several variants in one engine, one request at a time."""

    def __init__(self, store: Path, model: str, *, threads: int) -> None:
        self._runner = asyncio.Runner()
        self._engine = LocalEngine(Settings(store=store, model=model, threads=threads))

    def __enter__(self) -> Self:
        self._runner.run(self._engine.start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._runner.run(self._engine.close())
        self._runner.close()

    def transcribe(self, audio: bytes, model: str, *, language: str | None = None, words: bool = False) -> Timed:
        """All that a request costs but HTTP: decoding of the bytes, speech detection, recognition."""
        request = Request(audio, model, Options(language=language, word_times=words))
        started = time.perf_counter()
        served = self._runner.run(self._engine.transcribe(request))
        return Timed(served, time.perf_counter() - started)


def variant(store: Path, name: str) -> Manifest:
    """The variant that a name means on this machine."""
    fast_int8 = read_device().fast_int8
    return choose(name, Registry(store).list(), default=name, fast_int8=fast_int8).manifest
