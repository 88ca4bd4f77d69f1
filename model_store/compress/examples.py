"""Recordings in; windows with what a model says of them out, for steps that look at a model at work.

No reference is needed: the model's own greedy text is what it is held to (as in distillation, Kim and Rush, 2016).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from service.audio.decode import Limits, decode
from service.audio.types import Samples, Span
from service.audio.windows import windows
from service.backends.base import Features
from service.backends.onnx import OnnxBackend
from service.backends.sequences import Job
from service.recognition import families
from service.recognition.computation import Encode, encode
from service.recognition.decoding import decode as decode_text
from service.recognition.families.base import Family
from service.recognition.types import Options

LONGEST_S = 600.0
"""Of a recording; a calibration needs few words of many speakers, not many of one."""


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """A recording, and the language that it is in."""

    path: Path
    lang: str


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A window as the encoder takes it, with the tokens of prompt, text and end; `text_from` is where the text begins.

    The logits at a token are for the one behind it: those of the text are at `text_from - 1` and on, less the last.
    """

    features: Features
    tokens: tuple[int, ...]
    text_from: int

    @property
    def wanted(self) -> tuple[int, ...]:
        """The places whose logits tell of the text and its end."""
        return tuple(range(self.text_from - 1, len(self.tokens) - 1))


def examples(base: Path, recordings: Sequence[Spoken], *, most: int, threads: int) -> tuple[Example, ...]:
    """At most so many windows, spread over all recordings; those in which nothing is said are left out.

    Args:
        base: the folder of the base variant, whose text it is.
        recordings: to choose from.
        most: examples.
        threads: that compute.
    """
    family = families.load(base)
    backend = OnnxBackend(base, threads=threads)
    return tuple(_examples(backend, family, [one for one in recordings if one.lang in family.languages], most))


def _examples(backend: OnnxBackend, family: Family, recordings: Sequence[Spoken], most: int) -> Iterator[Example]:
    count = min(most, len(recordings))
    chosen = [recordings[index * len(recordings) // count] for index in range(count)]
    each = -(-most // max(1, count))
    spread = ((recording.lang, one) for recording in chosen for one in _windows(recording.path, family)[:each])
    for lang, samples in islice(spread, most):
        prompt = family.prompt(Options(), task="transcribe", language=lang)
        memory = encode(backend, family, Encode(samples))
        limit = family.token_limit(family.target_window_s)
        (text,) = decode_text(backend, family, [Job(memory, prompt, limit, aligned=False)])
        if text.tokens and not text.looped:
            tokens = (*prompt.tokens, *text.tokens, family.end_token)
            yield Example(family.features(samples, full=False), tokens, len(prompt.tokens))


def _windows(path: Path, family: Family) -> list[Samples]:
    samples, target_s = decode(path, limits=Limits(max_duration_s=LONGEST_S)).samples, family.target_window_s
    return [one.samples for one in windows(samples, (Span(0, len(samples)),), target_s=target_s, max_s=target_s)]
