"""Windows of speech in, segments of text out: the one recogniser, whoever asks.

A window's way is a computation: it asks for its encoding and its decoding, and others' windows share the batches. A
window whose text looks wrong is encoded again with all the padding that the model was trained on, then decoded hotter
and hotter.
"""

import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.audio.types import SAMPLE_RATE, Samples, Window
from service.audio.windows import halved
from service.backends.base import Backend, Features
from service.backends.repetition import unlooped
from service.backends.sequences import Hypothesis, Job, Memory
from service.errors import OptionError
from service.recognition.computation import Computation, Encode, decoding, encoding, features, run
from service.recognition.families.base import Family
from service.recognition.quality import best, doubt, repeats, silent, stops_early
from service.recognition.segments import sentence_segments, whole_segment
from service.recognition.types import Language, Options, Segment, Token

_log = logging.getLogger(__name__)

GROUP = 8
"""Windows that `recognize` decodes together."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a group of windows became. `languages` is what the whole recording is in, most probable first."""

    segments: tuple[Segment, ...]
    languages: tuple[Language, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """What a window seems to say so far: decoded once, however it looks.

    Attributes:
        tokens: all of its text.
        repeats: whether it says the same again and again; little else tells nonsense from a word that was cut short.
    """

    tokens: tuple[Token, ...]
    segments: tuple[Segment, ...]
    languages: tuple[Language, ...]
    repeats: bool


@dataclass(frozen=True, slots=True, eq=False)
class Heed:
    """What the first window told of the whole recording; its memory, so that it is not encoded twice."""

    languages: tuple[Language, ...]
    memory: Memory | None = None


class Recognizer:
    """A model family on a backend. It computes nothing itself but what is quick; its computations do when driven."""

    def __init__(self, backend: Backend, family: Family) -> None:
        self.backend, self.family = backend, family

    def features(self, ask: Encode) -> Features:
        """What the encoder takes of a window; from any thread."""
        return features(self.backend, self.family, ask)

    def check(self, options: Options) -> None:
        """See whether this model can do what is asked.

        Raises:
            OptionError: the model does not know the language.
        """
        known = self.family.languages
        for code in (options.language, *options.languages):
            if code is not None and code not in known:
                raise OptionError(
                    f"This model does not know the language {code!r}; it knows {_listed(known)}.", param="language"
                )

    def known_languages(self, options: Options) -> tuple[Language, ...]:
        """The language of a recording if it needs no detection, else nothing."""
        if options.language is not None:
            return (Language(options.language, 1.0),)
        return (Language(self.family.languages[0], 1.0),) if self.family.first_language_token is None else ()

    def heed(self, window: Window, options: Options) -> Computation[Heed]:
        """The language of a recording by its first window."""
        family, first = self.family, self.family.first_language_token
        known = self.known_languages(options)
        if known or first is None:
            return Heed(known)
        memory = yield from encoding(window.samples)
        prompt = family.prompt(Options(), task="transcribe", language=family.languages[0])
        start = replace(prompt, tokens=prompt.tokens[prompt.start : prompt.start + 1], start=0)
        probe = (first, first + len(family.languages))
        found = (yield from decoding(Job(memory, start, 0, aligned=False, probe=probe))).probed
        wanted = options.languages or family.languages
        ranked = [Language(code, float(p)) for code, p in zip(family.languages, found, strict=True) if code in wanted]
        return Heed(tuple(sorted(ranked, key=lambda language: -language.probability)), memory)

    def transcribe(self, window: Window, options: Options, heed: Heed) -> Computation[tuple[Segment, ...]]:
        """The segments of a window; `heed.memory` is the window's, if it has been encoded already."""
        return _Task(self, options, heed.languages).whole(window, heed.memory)

    def draft(self, window: Window, options: Options, heed: Heed, given: Sequence[Token]) -> Computation[Draft]:
        """A first reading of a window that may still grow; `given` is how its text is known to begin."""
        if not heed.languages:
            heed = yield from self.heed(window, options)
        return (yield from _Task(self, options, heed.languages).once(window, heed.memory, given))

    def recognize(self, windows: Sequence[Window], options: Options) -> Iterator[Part]:
        """Windows in order, in this thread; a part is computed when it is asked for.

        Raises:
            OptionError: the model does not know the language.
        """
        self.check(options)
        return self._parts(windows, options)

    def _parts(self, windows: Sequence[Window], options: Options) -> Iterator[Part]:
        heed = Heed(())
        for first in range(0, len(windows), GROUP):
            group = windows[first : first + GROUP]
            if not heed.languages:
                (heed,) = run(self.backend, self.family, [self.heed(group[0], options)])
            heeds = [heed, *([Heed(heed.languages)] * len(group))]
            tasks = [self.transcribe(window, options, known) for window, known in zip(group, heeds, strict=False)]
            found = run(self.backend, self.family, tasks)
            heed = Heed(heed.languages)
            yield Part(tuple(segment for segments in found for segment in segments), heed.languages)

    def warmup(self) -> None:
        """Run everything once on a second of silence, so that the first request is as fast as the next."""
        self.backend.warmup()
        run(self.backend, self.family, [self._warming()])

    def _warming(self) -> Computation[Hypothesis]:
        memory = yield from encoding(np.zeros(SAMPLE_RATE, np.float32))
        prompt = self.family.prompt(Options(), task="transcribe", language=self.family.languages[0])
        return (yield from decoding(Job(memory, prompt, token_limit=2)))


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """How the windows of one request are recognised."""

    recognizer: Recognizer
    options: Options
    languages: tuple[Language, ...]

    def whole(self, window: Window, memory: Memory | None) -> Computation[tuple[Segment, ...]]:
        """The window's segments; those of its halves where the decoder stopped early and they say more."""
        hypothesis = yield from self._believed(window, memory)
        if not stops_early(hypothesis, window.duration_s):
            return self._segments(window, hypothesis)
        _log.debug("decoding a window in halves: %d tokens in %.1f s", len(hypothesis.tokens), window.duration_s)
        halves = []
        for part in halved(window):
            halves.append((part, (yield from self._believed(part, None))))
        if sum(len(half.tokens) for _, half in halves) <= len(hypothesis.tokens):
            return self._segments(window, hypothesis)
        return tuple(segment for half in halves for segment in self._segments(*half))

    def once(self, window: Window, memory: Memory | None, given: Sequence[Token]) -> Computation[Draft]:
        """The window decoded once, from the tokens on that are given."""
        if memory is None:
            memory = yield from encoding(window.samples)
        known = tuple((token.id, token.logprob) for token in given)
        hypothesis = yield from decoding(replace(self._job(window, memory, 0.0), given=known))
        tokens = self._tokens(hypothesis)
        looping = repeats(hypothesis, b"".join(token.piece for token in tokens))
        return Draft(tokens, self._segments(window, hypothesis), self.languages, looping)

    def _believed(self, window: Window, memory: Memory | None) -> Computation[Hypothesis]:
        """The first hypothesis if it is believable, else the outcome of the ladder."""
        if memory is None:
            memory = yield from encoding(window.samples)
        pieces = self.recognizer.family.tokenizer.pieces
        tried = [(yield from decoding(self._job(window, memory, self.options.temperatures[0])))]
        texts = [b"".join(pieces(tried[0].tokens))]
        reason = doubt(tried[0], texts[0])
        if reason is None:
            return tried[0]
        temperatures = self.options.temperatures[1:]
        if self.recognizer.family.pads:
            memory = yield from encoding(window.samples, full=True)
            temperatures = (self.options.temperatures[0], *temperatures)
        for temperature in temperatures:
            _log.debug("decoding a window again at temperature %.1f: %s", temperature, reason)
            tried.append((yield from decoding(self._job(window, memory, temperature))))
            texts.append(b"".join(pieces(tried[-1].tokens)))
            reason = doubt(tried[-1], texts[-1])
            if reason is None:
                return tried[-1]
        return _cut(tried[best(tried, texts)])

    def _segments(self, window: Window, hypothesis: Hypothesis) -> tuple[Segment, ...]:
        if silent(hypothesis):
            return ()
        family, tokens = self.recognizer.family, self._tokens(hypothesis)
        if not self.options.word_times or family.position_s is None:
            return whole_segment(window, hypothesis, tokens)
        code = self.languages[0].code
        return sentence_segments(window, hypothesis, tokens, language=code, position_s=family.position_s)

    def _tokens(self, hypothesis: Hypothesis) -> tuple[Token, ...]:
        pieces = self.recognizer.family.tokenizer.pieces(hypothesis.tokens)
        return tuple(Token(*parts) for parts in zip(hypothesis.tokens, pieces, hypothesis.logprobs, strict=True))

    def _job(self, window: Window, memory: Memory, temperature: float) -> Job:
        family, options = self.recognizer.family, self.options
        prompt = family.prompt(options, task=options.task, language=self.languages[0].code)
        limit = family.token_limit(window.duration_s)
        aligned = options.word_times and family.position_s is not None
        return Job(memory, prompt, limit, temperature, seed=_seed(window.samples), aligned=aligned)


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
