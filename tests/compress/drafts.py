"""Drafts and recordings for the tests of compression."""

from functools import cache

import numpy as np

from model_store.compress.calibration import Calibration
from model_store.compress.draft import Draft
from model_store.compress.examples import Example, Spoken, examples
from model_store.convert.model import Model, read
from service.recognition.families import load
from tests.convert.whisper_folders import small
from tests.live import recording
from tests.store import folder

TINY = "whisper-tiny.en"
CLIPS = ("en/quick_brown_fox", "en/hello_world", "en/counting")


@cache
def spoken() -> tuple[Example, ...]:
    """What the real tiny.en says of a few clips."""
    clips = [Spoken(recording(name), "en") for name in CLIPS]
    return examples(folder(TINY, "fp32"), clips, most=3, threads=1)


@cache
def tiny_draft() -> Draft:
    return Draft(read(folder(TINY, "fp32")))


@cache
def small_draft() -> Draft:
    """Random weights; its embedding is cut, so that it is quick to build."""
    source = small()
    weights = dict(source.weights)
    weights["decoder.embed_tokens.weight"] = weights["decoder.embed_tokens.weight"][:640]
    return Draft(Model.of_whisper(source).having(weights, source.config.model_copy(update={"vocabulary": 640})))


@cache
def small_examples() -> tuple[Example, ...]:
    """Speech as features, with tokens at random: a model of random weights says nothing."""
    family, random = load(folder(TINY, "fp32")), np.random.default_rng(3)
    found = []
    for length in (4000, 16_000):
        features = family.features(random.normal(0, 0.1, length).astype(np.float32), full=False)
        found.append(Example(features, tuple(int(one) for one in random.integers(0, 640, 9)), 3))
    return tuple(found)


def calibration(*, real: bool) -> Calibration:
    def wer(_: Draft) -> float:
        raise AssertionError("nobody asked for it")

    return Calibration(spoken if real else small_examples, wer, threads=1)
