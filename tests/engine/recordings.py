"""Recordings as clients send them, and an engine to send them to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from service.audio.types import SAMPLE_RATE, Samples, VadOptions
from service.engine.engine import LocalEngine
from service.engine.types import Request
from service.recognition.types import Options, Word
from service.settings import Settings
from tests.audio.speech import recording
from tests.store import STORE

TINY = "whisper-tiny.en"
GAP_S = 0.6


@asynccontextmanager
async def engine_of(store: Path = STORE, *, model: str = f"{TINY}:int8") -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(Settings(store=store, model=model, threads=1, profile_s=0))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def wav(samples: Samples) -> bytes:
    out = BytesIO()
    soundfile.write(out, samples, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    return out.getvalue()


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


@cache
def talk() -> tuple[Samples, ...]:
    """Four sentences, each with a pause behind it."""
    names = ("quick_brown_fox", "hello_world", "counting", "quick_brown_fox")
    return tuple(np.concatenate([recording(f"en/{name}"), silence(GAP_S)]) for name in names)


def request(
    *samples: Samples, model: str = "auto", options: Options | None = None, vad: VadOptions | None = None
) -> Request:
    audio = wav(np.concatenate(samples))
    return Request(audio, model=model, options=options or Options(), vad=vad or VadOptions())


async def text_of(engine: LocalEngine, *samples: Samples, model: str = "auto") -> str:
    return (await engine.transcribe(request(*samples, model=model))).transcript.text


async def words_of(engine: LocalEngine, *samples: Samples, model: str = "auto") -> list[Word]:
    served = await engine.transcribe(request(*samples, model=model, options=Options(word_times=True)))
    return [word for segment in served.transcript.segments for word in segment.words]
