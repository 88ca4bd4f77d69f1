"""What the host knows of a row that is decoded on a device."""

from dataclasses import dataclass, field

import numpy as np
import torch

from service.backends.decoding import NOT_A_NUMBER
from service.backends.sequences import Hypothesis, Job
from service.backends.torch.notes import LOGPROB, NO_SPEECH, STATE, TOKEN, Gained
from service.backends.torch.texts import LOOPED, Rules
from service.errors import RecognitionFailed


@dataclass(slots=True, eq=False)
class Row:
    """Its tokens and the rest as far as the host has looked.

    Attributes:
        probed: the probabilities that the job asked for, on the device.
        error: what went wrong with this row alone.
    """

    job: Job
    probed: torch.Tensor | None = None
    error: Exception | None = None
    ended: bool = False
    _tokens: list[int] = field(default_factory=list)
    _logprobs: list[float] = field(default_factory=list)
    _end_logprob: float = 0.0
    _no_speech_prob: float = 0.0
    _looped: bool = False
    _looks: list[torch.Tensor] = field(default_factory=list)
    _primed: bool = False
    _steps: int = 0

    def __post_init__(self) -> None:
        self._tokens += [token for token, _ in self.job.given]
        self._logprobs += [logprob for _, logprob in self.job.given]

    def reach(self, steps: int) -> int:
        """Positions of its cache that may hold something after so many steps more."""
        return len(self.job.fed) + min(self._steps + steps, self.job.token_limit)

    def start(self, logits: torch.Tensor, attention: torch.Tensor | None) -> None:
        """Keep what is wanted of the prompt, once more if it is fed again.

        Args:
            logits: [vocabulary] at the start token.
            attention: [alignment heads, tokens, length of the batch], if any row of the batch is to be aligned.
        """
        self._looks.clear()
        if attention is not None and self.job.aligned:
            self._attend(attention[:, len(self.job.prompt.tokens) - 1 :])
        if self.job.probe is not None:
            self.probed = logits[slice(*self.job.probe)].softmax(0)

    def _attend(self, attention: torch.Tensor) -> None:
        """Keep where it looked, [alignment heads, tokens, length of the batch]."""
        self._looks.append(attention[..., : self.job.memory.length].clone())

    def gain(self, gained: Gained, *, steps: int, rules: Rules) -> None:
        """Take what was noted since the host last looked: at the prompt if that was not seen yet, and at each step."""
        if not self._primed and self.error is None:
            self._no_speech_prob = float(gained.notes[0, NO_SPEECH])
            self._take(gained, 0, rules)
        for place in range(1, 1 + steps):
            if self.ended or self.error is not None:
                break
            if gained.looks is not None and self.job.aligned:
                self._attend(gained.looks[place - 1][:, None])
            self._take(gained, place, rules)
        self._primed = True
        self._steps += steps
        self.ended |= self.error is not None

    def result(self) -> Hypothesis | Exception:
        """What became of it, once it has ended."""
        probed = np.empty(0, np.float32) if self.probed is None else self.probed.cpu().numpy()
        if self.error is not None or not np.isfinite(probed).all():
            return self.error or RecognitionFailed(NOT_A_NUMBER)
        attention = torch.cat([one.cpu() for one in self._looks], dim=1).numpy() if self._looks else None
        return Hypothesis(
            tokens=tuple(self._tokens),
            logprobs=tuple(self._logprobs),
            end_logprob=self._end_logprob,
            no_speech_prob=self._no_speech_prob,
            temperature=self.job.temperature,
            looped=self._looped,
            attention=np.empty((0, 0, 0), np.float32) if attention is None else attention,
            probed=probed,
        )

    def _take(self, gained: Gained, place: int, rules: Rules) -> None:
        if not self.job.token_limit:
            self.ended = True
            return
        token, logprob = int(gained.notes[place, TOKEN]), float(gained.notes[place, LOGPROB])
        state = int(gained.notes[place, STATE])
        if not np.isfinite(logprob):
            self.error = RecognitionFailed(NOT_A_NUMBER)
        elif token == rules.end_token:
            self._end_logprob, self.ended = logprob, True
        else:
            self._tokens.append(token)
            self._logprobs.append(logprob)
            self._looped, self.ended = state == LOOPED, state > 0
