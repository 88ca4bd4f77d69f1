"""Cuts of a corpus in, examples on disk out: their sound, and what the teacher says of it and how.

The teacher's text is its own greedy one (as in distillation, Kim and Rush, 2016); no reference is needed. Its last
hidden states are kept beside it, from which its next tokens follow. A bank that was begun is gone on with.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model_store.config import Padding, WhisperConfig
from model_store.train import network
from model_store.train.augment.levels import amplified, within_scale
from model_store.train.augment.noise import Color, colored
from model_store.train.corpus import Corpus, pcm, sounding
from model_store.train.cuts import Cut
from model_store.train.network import Weights, Windows
from service.audio.types import MAX_WINDOW_S, SAMPLE_RATE, Samples
from service.backends.base import EncoderBatch, Floats
from service.backends.onnx import OnnxBackend
from service.backends.sequences import Job
from service.recognition import families
from service.recognition.computation import Encode, encode
from service.recognition.decoding import decode
from service.recognition.families.whisper import padded
from service.recognition.types import Options

TEACHER = Padding(dense=250, sparse=250)
"""What the teacher sees of the padding to 30 s: as good as all of it, at half of the cost."""

_AT_ONCE = 8
_MOST_TOKENS_PER_S = 12

_COLORS: tuple[Color, ...] = ("white", "pink", "brown")
_NOISE_DB = (-80.0, -15.0)
"""Of noise without speech, under full scale."""

Vary = Callable[[Samples, np.random.Generator], Samples]


@dataclass(frozen=True, slots=True)
class Example:
    """A cut as it was heard.

    Attributes:
        sound: where in the file of sounds it lies.
        samples: how many.
        state: the first row of its hidden states, of which there are as many as tokens less one.
        tokens: prompt, text and end.
        text_from: where the text begins.
        lang: of the prompt.
        kind: of the cut.
        confidence: the teacher's mean log-probability.
    """

    sound: int
    samples: int
    state: int
    tokens: tuple[int, ...]
    text_from: int
    lang: str
    kind: str
    confidence: float

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE


class Bank:
    """The examples of a folder."""

    def __init__(self, folder: Path, width: int, *, least: float = -np.inf) -> None:
        """`least` leaves out speech of which the teacher was less sure."""
        self._folder, self._width = folder, width
        self.examples = tuple(
            one for one in _read(folder / "index.jsonl") if one.kind != "speech" or one.confidence >= least
        )

    def samples(self, example: Example) -> Samples:
        return sounding(self._sounds[example.sound : example.sound + example.samples])

    def states(self, example: Example) -> Floats:
        """The teacher's last hidden states, [tokens - 1, width]."""
        return self._states[example.state : example.state + len(example.tokens) - 1].astype(np.float32)

    @cached_property
    def _sounds(self) -> npt.NDArray[np.int16]:
        return np.memmap(self._folder / "sounds.s16", np.int16, "r")

    @cached_property
    def _states(self) -> npt.NDArray[np.float16]:
        return np.memmap(self._folder / "states.f16", np.float16, "r").reshape(-1, self._width)


class Teacher:
    """A Whisper variant of the store, that writes what it hears."""

    def __init__(self, base: Path, weights: Weights, config: WhisperConfig, *, threads: int) -> None:
        self._family, self._backend = families.load(base), OnnxBackend(base, threads=threads)
        self._weights, self._config = weights, config

    @property
    def width(self) -> int:
        """Of the hidden states."""
        return self._weights["decoder.embed_tokens.weight"].shape[1]

    def told(self, sounds: Sequence[Samples], langs: Sequence[str]) -> list[tuple[tuple[int, ...], int, float, bool]]:
        """Of each: tokens, where the text begins, confidence, and whether it can be believed to have ended."""
        jobs = []
        for samples, lang in zip(sounds, langs, strict=True):
            prompt = self._family.prompt(Options(), task="transcribe", language=lang)
            limit = 8 + int(len(samples) / SAMPLE_RATE * _MOST_TOKENS_PER_S)
            memory = encode(self._backend, self._family, Encode(samples))
            jobs.append(Job(memory, prompt, min(limit, self._family.token_limit(30)), aligned=False))
        found = []
        for job, text in zip(jobs, decode(self._backend, self._family, jobs), strict=True):
            tokens = (*job.prompt.tokens, *text.tokens, self._family.end_token)
            ended = not text.looped and len(text.tokens) < job.token_limit
            found.append((tokens, len(job.prompt.tokens), text.avg_logprob, ended))
        return found

    @torch.no_grad()
    def states(self, sounds: Sequence[Samples], tokens: Sequence[Sequence[int]]) -> list[Floats]:
        """The last hidden states at all tokens but the end, each [tokens - 1, width]."""
        windows = windowed(sounds, self._config.mel_bins, TEACHER)
        memory = network.encoded(self._weights, windows)
        states = network.decoded(self._weights, forced(tokens), memory, windows.log_weights)
        return [np.asarray(row[: len(one) - 1].numpy()) for row, one in zip(states, tokens, strict=True)]


def windowed(sounds: Sequence[Samples], bins: int, padding: Padding | None) -> Windows:
    """A batch of them, with so much of their padding."""
    batch = EncoderBatch.of([padded(one, bins, padding) for one in sounds])
    arrays = (batch.features, batch.frames, batch.positions, batch.log_weights)
    return Windows(*(torch.from_numpy(np.ascontiguousarray(one)) for one in arrays))


def forced(tokens: Sequence[Sequence[int]]) -> torch.Tensor:
    """What the decoder is fed: all tokens but the end, filled up with ends."""
    longest = max(len(one) for one in tokens) - 1
    return torch.tensor([[*one[:-1], *[one[-1]] * (longest - len(one) + 1)] for one in tokens])


def built(
    corpus: Corpus,
    chosen: Sequence[Cut],
    teacher: Teacher,
    folder: Path,
    *,
    width: int,
    seed: int,
    vary: Vary = lambda samples, _: samples,
    watch: Callable[[int, int], None] = lambda done, of: None,
) -> Bank:
    """The bank of these cuts in `folder`, as far as it is not there already.

    Args:
        corpus: the recordings.
        chosen: the cuts.
        teacher: who hears them.
        folder: of this bank alone.
        width: of the teacher's hidden states.
        seed: of what varies.
        vary: changes a cut's sound.
        watch: is told how many cuts of how many are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index, sounds, states = (folder / name for name in ("index.jsonl", "sounds.s16", "states.f16"))
    marks = list(_lines(index))
    done = _restored(index, sounds, states, marks, width)
    with index.open("a") as listed, sounds.open("ab") as heard, states.open("ab") as seen:
        cuts = iter(enumerate(chosen[done:], start=done))
        while some := list(islice(cuts, _AT_ONCE)):
            made = [(cut, _sound(corpus, cut, vary, np.random.default_rng((seed, number)))) for number, cut in some]
            rows = list(_told(corpus, made, teacher))
            facts = []
            for example, samples, state in rows:
                placed = {"sound": heard.tell() // 2, "state": seen.tell() // 2 // width}
                heard.write(pcm(samples).tobytes())
                seen.write(state.astype(np.float16).tobytes())
                facts.append({**asdict(example), **placed})
            heard.flush()
            seen.flush()
            done += len(some)
            listed.write(json.dumps({"cuts": done, "examples": facts}) + "\n")
            listed.flush()
            watch(done, len(chosen))
    return Bank(folder, width)


def _told(
    corpus: Corpus, made: Sequence[tuple[Cut, Samples]], teacher: Teacher
) -> Iterator[tuple[Example, Samples, Floats]]:
    """What can be learnt from: texts that ended."""
    langs = [corpus.recordings[cut.recording].lang for cut, _ in made]
    told = teacher.told([samples for _, samples in made], langs)
    kept = []
    for (cut, samples), lang, (tokens, text_from, confidence, ended) in zip(made, langs, told, strict=True):
        if cut.kind != "speech":  # nothing is said, whatever the teacher hears in it
            kept.append((cut, samples, lang, (*tokens[:text_from], tokens[-1]), text_from, confidence))
        elif ended:
            kept.append((cut, samples, lang, tokens, text_from, confidence))
    if not kept:
        return
    states = teacher.states([one[1] for one in kept], [one[3] for one in kept])
    for (cut, samples, lang, tokens, text_from, confidence), state in zip(kept, states, strict=True):
        yield Example(0, len(samples), 0, tokens, text_from, lang, cut.kind, confidence), samples, state


def _sound(corpus: Corpus, cut: Cut, vary: Vary, random: np.random.Generator) -> Samples:
    if cut.kind == "silence":
        return np.zeros(cut.samples, np.float32)
    if cut.kind == "noise":
        color = _COLORS[random.integers(len(_COLORS))]
        return within_scale(amplified(colored(cut.samples, color, random), random.uniform(*_NOISE_DB)))
    heard = vary(corpus.read(corpus.recordings[cut.recording], cut.first, cut.samples), random)
    return heard[: MAX_WINDOW_S * SAMPLE_RATE]


def _lines(path: Path) -> Iterator[tuple[dict[str, object], int]]:
    """Whole lines, with the byte behind each."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            end += len(line)
            if line.endswith(b"\n"):
                yield json.loads(line), end


def _read(path: Path) -> Iterator[Example]:
    for line, _ in _lines(path):
        for row in line["examples"]:  # type: ignore[attr-defined]
            yield Example(**{**row, "tokens": tuple(row["tokens"])})


def _restored(index: Path, sounds: Path, states: Path, marks: list[tuple[dict[str, object], int]], width: int) -> int:
    """How many cuts are done; what was written behind them is dropped."""
    if not marks:
        for path in (index, sounds, states):
            path.write_bytes(b"")
        return 0
    examples = list(_read(index))
    ends = (marks[-1][1], sum(one.samples for one in examples) * 2)
    rows = sum(len(one.tokens) - 1 for one in examples) * width * 2
    for path, end in zip((index, sounds, states), (*ends, rows), strict=True):
        with path.open("rb+") as file:
            file.truncate(end)
    return int(marks[-1][0]["cuts"])  # type: ignore[call-overload, no-any-return]
