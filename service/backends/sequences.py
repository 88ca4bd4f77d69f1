"""The seam to rows that are decoded together: jobs in, hypotheses out.

A backend either gives logits, and the tokens are chosen here (`service.backends.decoding`), or it chooses them where it
computes, since to look at each of them would make it wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Memory(Protocol):
    """What the encoder made of a window; only a backend of the same variant can read it."""

    @property
    def length(self) -> int:
        """Encoder positions."""
        ...


class TokenRules(Protocol):
    """Of which tokens a text may be made."""

    @property
    def end_token(self) -> int: ...

    @property
    def no_speech_token(self) -> int | None:
        """The token whose probability at the start says that there is no speech; None if the family has none."""
        ...

    @property
    def first_mask(self) -> Floats:
        """[vocabulary]: 0 where a token may be the first of a text, -inf where not."""
        ...

    @property
    def mask(self) -> Floats:
        """[vocabulary]: the same for all that follow."""
        ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a row is primed with. `start` is the index of the start token, whose logits tell of speech and language."""

    tokens: tuple[int, ...]
    start: int


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One window to decode.

    Attributes:
        memory: of one row.
        token_limit: the most text tokens; 0 feeds the prompt and no more.
        aligned: whether the attention is wanted.
        probe: first token, and behind the last, of those whose probabilities at the start token are wanted.
        given: how the text begins, its tokens with their log-probabilities: they are fed at once, as a prompt is.
    """

    memory: Memory
    prompt: Prompt
    token_limit: int
    temperature: float = 0.0
    seed: int = 0
    aligned: bool = True
    probe: tuple[int, int] | None = None
    given: tuple[tuple[int, float], ...] = ()

    @property
    def fed(self) -> tuple[int, ...]:
        """The tokens that are known before the first step."""
        return (*self.prompt.tokens, *(token for token, _ in self.given))


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
            end. Empty if the family has no alignment heads, or the job was not to be aligned.
        probed: the probabilities that the job asked for, among themselves.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    end_logprob: float
    no_speech_prob: float
    temperature: float
    looped: bool
    attention: Floats
    probed: Floats

    @property
    def avg_logprob(self) -> float:
        """Over the tokens and the end, as the original has it."""
        return (sum(self.logprobs) + self.end_logprob) / (len(self.tokens) + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """A job that left the batch, with its hypothesis or with what went wrong with it alone."""

    job: Job
    result: Hypothesis | Exception


def alike(jobs: Sequence[Job]) -> int:
    """How many of the first jobs can be fed together."""
    for count, job in enumerate(jobs):
        if _shape(job) != _shape(jobs[0]):
            return count
    return len(jobs)


def _shape(job: Job) -> tuple[int, int, int]:
    return len(job.prompt.tokens), job.prompt.start, len(job.given)


class Sequences(Protocol):
    """Rows that share decoder steps. For one thread.

    A step that fails is tried again with fewer rows, so that only the rows to blame are lost.
    """

    @property
    def capacity(self) -> int:
        """Rows that there is room for."""
        ...

    @property
    def stride(self) -> int:
        """Tokens that a row may gain in one `step`: where it waits for nothing in between, it looks up now and then."""
        ...

    def __len__(self) -> int: ...

    def join(self, jobs: Sequence[Job]) -> list[Ended]:
        """Feed the prompts of more rows, all at once where they are alike; those that end at once are returned."""
        ...

    def step(self) -> list[Ended]:
        """Up to `stride` tokens more for each row; those that ended are returned."""
        ...

    def drop(self, job: Job) -> None:
        """Take a row out before its end; one that has left already is nothing to do."""
        ...
