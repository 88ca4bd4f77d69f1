"""A transcript as the recogniser gives it, and a client of an app that answers with it."""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from service.app import create_app
from service.engine.fake import FakeEngine
from service.engine.types import Engine
from service.recognition.types import Language, Segment, Token, Transcript, Word
from service.settings import Settings

FILE = {"file": ("speech.wav", b"any bytes", "audio/wav")}


def segment(text: str, start_s: float, end_s: float) -> Segment:
    """Words of equal length, a token each."""
    words = text.split()
    step = (end_s - start_s) / len(words)
    return Segment(
        start_s=start_s,
        end_s=end_s,
        text=f" {text}",
        tokens=tuple(Token(100 + number, f" {word}".encode(), -0.25) for number, word in enumerate(words)),
        temperature=0.0,
        avg_logprob=math.log(0.8),
        compression_ratio=1.1,
        no_speech_prob=0.01,
        words=tuple(
            Word(f" {word}", start_s + number * step, start_s + (number + 1) * step, 0.8)
            for number, word in enumerate(words)
        ),
    )


FOX = Transcript(
    text="The quick brown fox jumps. Over the lazy dog.",
    segments=(segment("The quick brown fox jumps.", 0.0, 3.32), segment("Over the lazy dog.", 3.5, 8.47)),
    languages=(Language("en", 1.0),),
    duration_s=8.47,
)

SILENCE = Transcript(text="", segments=(), languages=(Language("en", 1.0),), duration_s=2.0)


def app_of(engine: Engine, **settings: object) -> FastAPI:
    return create_app(Settings.model_validate({"model": "fake", "jobs": False, **settings}), engine)


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://wren") as client:
        yield client


async def post(
    engine: FakeEngine, data: Mapping[str, object], *, path: str = "transcriptions", **settings: object
) -> httpx.Response:
    """Send the fields with a file to an app over the engine."""
    async with client_of(app_of(engine, **settings)) as client:
        return await client.post(f"/v1/audio/{path}", data={"model": "fake", **data}, files=FILE)
