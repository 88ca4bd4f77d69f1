"""What the tests of recognition share: models of the store, windows, what they say."""

from functools import cache

import numpy as np

from service.audio.types import SAMPLE_RATE, Piece, Samples, Window
from service.backends.base import EncoderBatch
from service.backends.onnx import OnnxBackend
from service.recognition.families import load
from service.recognition.families.base import Family
from service.recognition.families.whisper import Whisper
from service.recognition.recognizer import Part, Recognizer
from service.recognition.types import Options
from tests.audio.speech import recording
from tests.store import folder

TINY = "whisper-tiny.en"
BASE = "whisper-base"
VARIANTS = ("fp32", "int8")


@cache
def backend(model: str, variant: str) -> OnnxBackend:
    return OnnxBackend(folder(model, variant), threads=1)


@cache
def whisper(model: str = TINY) -> Whisper:
    family = load(folder(model, "int8"))
    assert isinstance(family, Whisper)
    return family


@cache
def recognizer(model: str, variant: str) -> Recognizer:
    return Recognizer(backend(model, variant), whisper(model))


def batch_of(family: Family, *windows: Samples, full: bool = False) -> EncoderBatch:
    return EncoderBatch.of([family.features(samples, full=full) for samples in windows])


def same(ours: EncoderBatch, theirs: EncoderBatch) -> bool:
    """Whether two batches are the same, bit by bit."""
    names = ("features", "frames", "positions", "log_weights", "lengths", "feature_lengths")
    return all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in names)


def window(samples: Samples) -> Window:
    return Window(samples, (Piece(0, 0, len(samples)),))


def heard(recognizer: Recognizer, *clips: Samples, options: Options | None = None) -> list[Part]:
    return list(recognizer.recognize([window(samples) for samples in clips], options or Options()))


def said(recognizer: Recognizer, *clips: Samples, options: Options | None = None) -> str:
    parts = heard(recognizer, *clips, options=options)
    return "".join(segment.text for part in parts for segment in part.segments).strip()


@cache
def clips() -> tuple[Samples, ...]:
    """English speech of 1 to 7 seconds, cut off here and there."""
    counting, hello, fox = (recording(f"en/{name}") for name in ("counting", "hello_world", "quick_brown_fox"))
    fox_counting = np.concatenate([fox, counting])
    return counting, hello, fox, fox_counting, np.concatenate([hello, fox_counting]), fox[: 5 * SAMPLE_RATE // 4]
