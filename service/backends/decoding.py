"""Logits in, tokens out: the rows of a backend that gives logits, their tokens chosen on the host.

Greedy at temperature 0, else sampled, with suppression as the original has it (openai/whisper, `decoding.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.backends.base import Floats, Integers, LogitBackend, Rows, Step
from service.backends.repetition import looping
from service.backends.sequences import Ended, Hypothesis, Job, TokenRules, alike
from service.errors import RecognitionFailed

NOT_A_NUMBER = "the model's output is not a number"


class ChoosesOnHost:
    """What backends have in common that give logits, and compute nothing behind the caller."""

    def sequences(
        self: LogitBackend,
        rules: TokenRules,
        *,
        capacity: int,
        length: int,
        on_retry: Callable[[Exception], None] = lambda _: None,
    ) -> "DecodeBatch":
        return DecodeBatch(self, rules, capacity=capacity, length=length, on_retry=on_retry)

    def finish(self) -> None:
        """All is computed."""


class DecodeBatch:
    """See `service.backends.sequences.Sequences`. A step that fails is tried again row by row."""

    stride = 1

    def __init__(
        self,
        backend: LogitBackend,
        rules: TokenRules,
        *,
        capacity: int,
        length: int,
        on_retry: Callable[[Exception], None],
    ) -> None:
        self._rows: Rows = backend.open(capacity=capacity, length=length)
        self._rules, self._on_retry = rules, on_retry
        self._running: list[_Row] = []
        self._scratch = np.empty(len(rules.mask), np.float32)
        self.capacity, self.length = capacity, length

    def __len__(self) -> int:
        return len(self._running)

    def join(self, jobs: Sequence[Job]) -> list[Ended]:
        ended: list[Ended] = []
        entering: list[_Row] = []
        for job in jobs:
            try:
                self._rows.join(job.memory)
            except Exception as error:  # a memory that does not fit, or no memory left: this row's own fault
                ended.append(Ended(job, error))
            else:
                entering.append(_Row(job))
        first = len(self._running)
        self._running += entering
        while first < len(self._running):
            count = alike([row.job for row in self._running[first:]])
            self._prime(first, count)
            first += count
        return ended + self._leave()

    def step(self) -> list[Ended]:
        tokens = np.array([[row.tokens[-1]] for row in self._running], np.int64)
        for row, step, index in self._computed(0, tokens, wanted=(-1,)):
            row.attend(step.attention[index, :, 0])
            row.choose(step.logits[index, 0], self._rules, self._scratch)
        return self._leave()

    def drop(self, job: Job) -> None:
        for slot, row in enumerate(self._running):
            if row.job is job:
                self._remove(slot)
                return

    def _prime(self, first: int, count: int) -> None:
        job = self._running[first].job
        tokens = np.array([row.job.fed for row in self._running[first : first + count]], np.int64)
        for row, step, index in self._computed(first, tokens, wanted=(job.prompt.start, -1)):
            row.prime(step.logits[index, 0], self._rules)
            for place in range(len(job.prompt.tokens) - 1, tokens.shape[1]):
                row.attend(step.attention[index, :, place])
            row.choose(step.logits[index, 1], self._rules, self._scratch)

    def _computed(self, first: int, tokens: Integers, *, wanted: tuple[int, ...]) -> "Iterator[tuple[_Row, Step, int]]":
        """Each row with the step that computed it and its place in there; rows that cannot be computed get their error.

        A step's arrays hold until the next one, so a row must be dealt with before the next is asked for.
        """
        rows = self._running[first : first + len(tokens)]
        try:
            step = self._rows.step(tokens, first=first, wanted=wanted)
        except Exception as error:  # whatever a runtime raises: there is no common class
            if len(rows) == 1:
                rows[0].error = error
                return
            self._on_retry(error)
            for index in range(len(rows)):
                yield from self._computed(first + index, tokens[index : index + 1], wanted=wanted)
            return
        yield from ((row, step, index) for index, row in enumerate(rows))

    def _leave(self) -> list[Ended]:
        ended = []
        for slot in reversed(range(len(self._running))):
            row = self._running[slot]
            if row.error is not None:
                ended.append(Ended(row.job, row.error))
            elif row.ended:
                ended.append(Ended(row.job, row.hypothesis()))
            else:
                continue
            self._remove(slot)
        return ended

    def _remove(self, slot: int) -> None:
        self._rows.leave(slot)
        self._running[slot] = self._running[-1]
        self._running.pop()


@dataclass(slots=True, eq=False)
class _Row:
    """A row that is being decoded."""

    job: Job
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    end_logprob: float = 0.0
    no_speech_prob: float = 0.0
    ended: bool = False
    looped: bool = False
    error: Exception | None = None
    looks: list[Floats] = field(default_factory=list)
    probed: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.tokens += [token for token, _ in self.job.given]
        self.logprobs += [logprob for _, logprob in self.job.given]
        self.random = np.random.default_rng(self.job.seed)

    def prime(self, start_logits: Floats, rules: TokenRules) -> None:
        if rules.no_speech_token is not None:
            self.no_speech_prob = float(np.exp(start_logits[rules.no_speech_token] - _log_sum_exp(start_logits)))
        if self.job.probe is not None:
            probed = start_logits[slice(*self.job.probe)]
            self.probed = np.exp(probed - _log_sum_exp(probed))
            if not np.isfinite(self.probed).all():
                self.error = RecognitionFailed(NOT_A_NUMBER)

    def attend(self, attention: Floats) -> None:
        """Keep where the step looked, [alignment heads, memory length of the batch]."""
        if self.job.aligned:
            self.looks.append(attention[:, : self.job.memory.length].copy())

    def choose(self, logits: Floats, rules: TokenRules, scratch: Floats) -> None:
        """Take the next token from its logits, and see whether the row has ended."""
        if not self.job.token_limit:
            self.ended = True
            return
        scores = np.add(logits, rules.mask if self.tokens else rules.first_mask, out=scratch)
        token = self._pick(scores)
        logprob = float(scores[token] - _log_sum_exp(scores, out=scratch))
        if not np.isfinite(logprob):
            self.error = RecognitionFailed(NOT_A_NUMBER)
        elif token == rules.end_token:
            self.end_logprob, self.ended = logprob, True
        else:
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
            attention=np.stack(self.looks, axis=1) if self.looks else np.empty((0, 0, 0), np.float32),
            probed=self.probed,
        )


def _log_sum_exp(scores: Floats, *, out: Floats | None = None) -> np.float32:
    """Over all scores; `out` is written over, and may be the scores themselves."""
    top = scores.max()
    powers = np.exp(np.subtract(scores, top, out=out), out=out)
    return np.float32(top + np.log(powers.sum()))
