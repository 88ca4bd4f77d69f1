"""Windows of speech in, segments of text out: the one recogniser, whoever asks.

Windows are encoded one by one, each at its own length, and decoded together. A window whose text looks wrong is encoded
again with all the padding that the model was trained on, then decoded hotter and hotter.
"""

import logging
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.audio.types import SAMPLE_RATE, Samples, Window
from service.audio.windows import halved
from service.backends.base import Backend, Memory
from service.errors import OptionError
from service.recognition.decoding import Hypothesis, Job, decode, language_probabilities
from service.recognition.families.base import Family
from service.recognition.quality import best, doubt, silent, stops_early
from service.recognition.repetition import unlooped
from service.recognition.segments import sentence_segments, whole_segment
from service.recognition.types import Language, Options, Segment, Token

_log = logging.getLogger(__name__)

GROUP = 8
"""Windows of one request that are decoded together."""


def group_count(windows: Sequence[Window]) -> int:
    """How many parts these windows make."""
    return -(-len(windows) // GROUP)


@dataclass(frozen=True, slots=True)
class Part:
    """What a group of windows became. `languages` is what the whole request is in, most probable first."""

    segments: tuple[Segment, ...]
    languages: tuple[Language, ...]
    encode_ms: float
    decode_ms: float


class Recognizer:
    """A model family on a backend. Called from one thread."""

    def __init__(self, backend: Backend, family: Family) -> None:
        self.backend, self.family = backend, family

    def recognize(self, windows: Sequence[Window], options: Options) -> Iterator[Part]:
        """Windows in order; a part is computed when it is asked for.

        The language, where it is not given, is detected on the first window and holds for all.

        Raises:
            OptionError: the model does not know the language.
        """
        self._check(options)
        task = _Task(self, options)
        return (task.part(windows[index * GROUP : (index + 1) * GROUP]) for index in range(group_count(windows)))

    def warmup(self) -> None:
        """Run everything once on a second of silence, so that the first request is as fast as the next."""
        self.backend.warmup()
        memory = self.encode(np.zeros(SAMPLE_RATE, np.float32), full=False)
        prompt = self.family.prompt(Options(), task="transcribe", language=self.family.languages[0])
        decode(self.backend, self.family, [Job(memory, prompt, token_limit=2)])

    def encode(self, samples: Samples, *, full: bool) -> Memory:
        return self.backend.encode(self.family.encoder_batch([self.family.features(samples, full=full)]))

    def _check(self, options: Options) -> None:
        known = self.family.languages
        for code in (options.language, *options.languages):
            if code is not None and code not in known:
                raise OptionError(
                    f"This model does not know the language {code!r}; it knows {_listed(known)}.", param="language"
                )


@dataclass(slots=True, eq=False)
class _Task:
    """One request on its way through the recogniser."""

    recognizer: Recognizer
    options: Options
    languages: tuple[Language, ...] = ()
    encode_ms: float = 0.0
    decode_ms: float = 0.0

    def part(self, windows: Sequence[Window]) -> Part:
        self.encode_ms = self.decode_ms = 0.0
        memories = [self._encode(window.samples, full=False) for window in windows]
        if not self.languages:
            self.languages = self._languages(memories[0])
        hypotheses = self._decode(windows, memories, self.options.temperatures[0])
        segments: list[Segment] = []
        for window, memory, hypothesis in zip(windows, memories, hypotheses, strict=True):
            segments += self._whole(window, self._checked(window, memory, hypothesis))
        return Part(tuple(segments), self.languages, self.encode_ms, self.decode_ms)

    def _whole(self, window: Window, hypothesis: Hypothesis) -> tuple[Segment, ...]:
        """The window's segments; those of its halves where the decoder stopped early and they say more."""
        if not stops_early(hypothesis, window.duration_s):
            return self._segments(window, hypothesis)
        parts = halved(window)
        memories = [self._encode(part.samples, full=False) for part in parts]
        found = self._decode(parts, memories, self.options.temperatures[0])
        again = [self._checked(*one) for one in zip(parts, memories, found, strict=True)]
        _log.debug("decoding a window in halves: %d tokens in %.1f s", len(hypothesis.tokens), window.duration_s)
        if sum(len(half.tokens) for half in again) <= len(hypothesis.tokens):
            return self._segments(window, hypothesis)
        return tuple(segment for one in zip(parts, again, strict=True) for segment in self._segments(*one))

    def _languages(self, memory: Memory) -> tuple[Language, ...]:
        family, options = self.recognizer.family, self.options
        if options.language is not None:
            return (Language(options.language, 1.0),)
        prompt = family.prompt(Options(), task="transcribe", language=family.languages[0])
        found = language_probabilities(self.recognizer.backend, family, memory, prompt.tokens[prompt.start])
        wanted = options.languages or family.languages
        ranked = [Language(code, float(p)) for code, p in zip(family.languages, found, strict=True) if code in wanted]
        return tuple(sorted(ranked, key=lambda language: -language.probability))

    def _checked(self, window: Window, memory: Memory, first: Hypothesis) -> Hypothesis:
        """The hypothesis if it is believable, else the outcome of the ladder."""
        pieces = self.recognizer.family.tokenizer.pieces
        tried, texts = [first], [b"".join(pieces(first.tokens))]
        reason = doubt(first, texts[0])
        if reason is None:
            return first
        temperatures = self.options.temperatures[1:]
        if self.recognizer.family.pads:
            memory = self._encode(window.samples, full=True)
            temperatures = (self.options.temperatures[0], *temperatures)
        for temperature in temperatures:
            _log.debug("decoding a window again at temperature %.1f: %s", temperature, reason)
            tried += self._decode([window], [memory], temperature)
            texts.append(b"".join(pieces(tried[-1].tokens)))
            reason = doubt(tried[-1], texts[-1])
            if reason is None:
                return tried[-1]
        return _cut(tried[best(tried, texts)])

    def _segments(self, window: Window, hypothesis: Hypothesis) -> tuple[Segment, ...]:
        if silent(hypothesis):
            return ()
        family = self.recognizer.family
        pieces = family.tokenizer.pieces(hypothesis.tokens)
        tokens = [Token(*parts) for parts in zip(hypothesis.tokens, pieces, hypothesis.logprobs, strict=True)]
        if not self.options.word_times or family.position_s is None:
            return whole_segment(window, hypothesis, tokens)
        code = self.languages[0].code
        return sentence_segments(window, hypothesis, tokens, language=code, position_s=family.position_s)

    def _encode(self, samples: Samples, *, full: bool) -> Memory:
        started = time.perf_counter()
        memory = self.recognizer.encode(samples, full=full)
        self.encode_ms += 1e3 * (time.perf_counter() - started)
        return memory

    def _decode(self, windows: Sequence[Window], memories: Sequence[Memory], temperature: float) -> list[Hypothesis]:
        started = time.perf_counter()
        family = self.recognizer.family
        prompt = family.prompt(self.options, task=self.options.task, language=self.languages[0].code)
        jobs = [
            Job(memory, prompt, family.token_limit(window.duration_s), temperature, seed=_seed(window.samples))
            for window, memory in zip(windows, memories, strict=True)
        ]
        hypotheses = decode(self.recognizer.backend, family, jobs)
        self.decode_ms += 1e3 * (time.perf_counter() - started)
        return hypotheses


def _cut(hypothesis: Hypothesis) -> Hypothesis:
    """A hypothesis that loops says its phrase once."""
    if not hypothesis.looped:
        return hypothesis
    kept = unlooped(hypothesis.tokens)
    return replace(
        hypothesis,
        tokens=hypothesis.tokens[:kept],
        logprobs=hypothesis.logprobs[:kept],
        attention=hypothesis.attention[:, : kept + 1],
    )


def _seed(samples: Samples) -> int:
    """The same audio is sampled the same way every time."""
    return zlib.crc32(samples.tobytes())


def _listed(codes: Sequence[str]) -> str:
    return ", ".join(codes[:8]) + (f" and {len(codes) - 8} more" if len(codes) > 8 else "")
