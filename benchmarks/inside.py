"""The engine in this process, asked for waveforms in memory, by one caller or by many at once; no HTTP, no files."""

import asyncio
import math
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from service.audio.types import Samples, VadOptions
from service.engine.engine import LocalEngine
from service.engine.types import Request, Served
from service.recognition.types import Options
from service.settings import Settings

NO_LIMIT_S = 1e9


class Inside:
    """A variant in an engine. A context: it starts and ends the engine. WREN_… variables hold."""

    def __init__(self, store: Path, model: str, *, threads: int) -> None:
        self._runner, self._model = asyncio.Runner(), model
        settings = Settings(
            store=store, model=model, threads=threads, cascade=None, profile_s=0, max_waiting_s=NO_LIMIT_S
        )
        self._engine = LocalEngine(settings)

    def __enter__(self) -> Self:
        self._runner.run(self._engine.start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._runner.run(self._engine.close())
        self._runner.close()

    def one_by_one(self, recordings: Sequence[Samples], *, vad: bool) -> list[float]:
        """Seconds of each, asked for when the one before is answered; without speech detection 30 s are one window."""
        return [self._runner.run(self._seconds(samples, vad=vad)) for samples in recordings]

    def at_once(self, recordings: Sequence[Samples]) -> float:
        """Seconds until all are answered, asked for at the same time by a client each, without speech detection."""

        async def all_of_them() -> None:
            await asyncio.gather(*(self._asked(one, str(n), vad=False) for n, one in enumerate(recordings)))

        started = time.perf_counter()
        self._runner.run(all_of_them())
        return time.perf_counter() - started

    async def _seconds(self, samples: Samples, *, vad: bool) -> float:
        started = time.perf_counter()
        await self._asked(samples, "", vad=vad)
        return time.perf_counter() - started

    async def _asked(self, samples: Samples, client: str, *, vad: bool) -> Served:
        request = Request(
            samples,
            self._model,
            Options(language="en"),
            vad=VadOptions(enabled=vad),
            client=client,
            deadline_s=math.inf,
        )
        return await self._engine.transcribe(request)
