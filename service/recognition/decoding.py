"""Encoder memories in, token sequences out: rows are decoded together and leave as they end.

Greedy at temperature 0, else sampled, with suppression as the original has it (openai/whisper, `decoding.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service.backends.base import Backend, Floats, Memory, Rows
from service.recognition.families.base import Family, Prompt
from service.recognition.repetition import looping


@dataclass(frozen=True, slots=True)
class Job:
    """One window to decode: its memory (one row), how it is primed, and the most tokens it may have."""

    memory: Memory
    prompt: Prompt
    token_limit: int
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis:
    """What a row became.

    Attributes:
        tokens: text tokens, the end token left out.
        logprobs: of each token, at temperature 1.
        end_logprob: of the end token; 0 if the row was stopped before it.
        no_speech_prob: 0 for families that do not tell.
        looped: the row was stopped because it repeated itself.
        attention: [alignment heads, tokens + 1, memory length]: row i looks where token i is heard, the last one at the
            end. Empty if the family has no alignment heads.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    end_logprob: float
    no_speech_prob: float
    temperature: float
    looped: bool
    attention: Floats

    @property
    def avg_logprob(self) -> float:
        """Over the tokens and the end, as the original has it."""
        return (sum(self.logprobs) + self.end_logprob) / (len(self.tokens) + 1)


def decode(backend: Backend, family: Family, jobs: Sequence[Job]) -> list[Hypothesis]:
    """Decode all jobs together; the hypotheses come in the order of the jobs."""
    rows = backend.open(capacity=len(jobs), length=max(job.memory.length for job in jobs))
    running: list[_Row] = []
    for index, job in enumerate(jobs):
        rows.join(job.memory)
        running.append(_Row(index, job))
    logits = _prime(rows, family, running)
    done: dict[int, Hypothesis] = {}
    while True:
        for row, scores in zip(running, logits, strict=True):
            row.choose(scores, family)
        for slot in reversed(range(len(running))):
            if running[slot].ended:
                done[running[slot].index] = running[slot].hypothesis()
                rows.leave(slot)
                running[slot] = running[-1]
                running.pop()
        if not running:
            return [done[index] for index in range(len(jobs))]
        step = rows.step(np.array([[row.tokens[-1]] for row in running], np.int64))
        logits = step.logits[:, 0]
        for row, attention in zip(running, step.attention, strict=True):
            row.attend(attention[:, 0])


def language_probabilities(backend: Backend, family: Family, memory: Memory, start_token: int) -> Floats:
    """[languages] for a memory of one row, from the logits behind the start token."""
    first = family.first_language_token
    if first is None:
        return np.ones(1, np.float32)
    rows = backend.open(capacity=1, length=memory.length)
    rows.join(memory)
    logits = rows.step(np.array([[start_token]], np.int64)).logits[0, 0]
    return np.exp(_log_softmax(logits[first : first + len(family.languages)]))


def _prime(rows: Rows, family: Family, running: "list[_Row]") -> Floats:
    """Feed the prompts, all at once where they are equally long, and give the logits for the first tokens."""
    first_logits: list[Floats] = []
    slot = 0
    while slot < len(running):
        prompt = running[slot].job.prompt
        same = 1
        while slot + same < len(running) and _alike(running[slot + same].job.prompt, prompt):
            same += 1
        group = running[slot : slot + same]
        tokens = np.array([row.job.prompt.tokens for row in group], np.int64)
        step = rows.step(tokens, first=slot, wanted=(prompt.start, -1))
        for row, logits, attention in zip(group, step.logits, step.attention, strict=True):
            row.prime(logits[0], attention[:, -1], family)
            first_logits.append(logits[1].copy())
        slot += same
    return np.stack(first_logits)


def _alike(one: Prompt, other: Prompt) -> bool:
    return len(one.tokens) == len(other.tokens) and one.start == other.start


@dataclass(slots=True, eq=False)
class _Row:
    """A row that is being decoded."""

    index: int
    job: Job
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    end_logprob: float = 0.0
    no_speech_prob: float = 0.0
    ended: bool = False
    looped: bool = False
    looks: list[Floats] = field(default_factory=list)
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.job.seed)

    def prime(self, start_logits: Floats, attention: Floats, family: Family) -> None:
        if family.no_speech_token is not None:
            self.no_speech_prob = float(np.exp(_log_softmax(start_logits)[family.no_speech_token]))
        self.attend(attention)

    def attend(self, attention: Floats) -> None:
        """Keep where the step looked, [alignment heads, memory length of the batch]."""
        self.looks.append(attention[:, : self.job.memory.length].copy())

    def choose(self, logits: Floats, family: Family) -> None:
        """Take the next token from its logits, and see whether the row has ended."""
        scores = logits + (family.mask if self.tokens else family.first_mask)
        token = self._pick(scores)
        logprob = float(scores[token] - _log_sum_exp(scores))
        if token == family.end_token:
            self.end_logprob, self.ended = logprob, True
            return
        self.tokens.append(token)
        self.logprobs.append(logprob)
        self.looped = looping(self.tokens)
        self.ended = self.looped or len(self.tokens) >= self.job.token_limit

    def _pick(self, scores: Floats) -> int:
        if self.job.temperature == 0:
            return int(scores.argmax())
        # Gumbel's trick: the argmax of scores with this noise is a sample of their softmax.
        noise = self.random.gumbel(size=len(scores)).astype(np.float32)
        return int((scores / np.float32(self.job.temperature) + noise).argmax())

    def hypothesis(self) -> Hypothesis:
        return Hypothesis(
            tokens=tuple(self.tokens),
            logprobs=tuple(self.logprobs),
            end_logprob=self.end_logprob,
            no_speech_prob=self.no_speech_prob,
            temperature=self.job.temperature,
            looped=self.looped,
            attention=np.stack(self.looks, axis=1),
        )


def _log_sum_exp(scores: Floats) -> np.float32:
    top = scores.max()
    return np.float32(top + np.log(np.exp(scores - top).sum()))


def _log_softmax(scores: Floats) -> Floats:
    return scores - _log_sum_exp(scores)
