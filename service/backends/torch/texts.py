"""The texts of rows where they are decoded: logits in, the next tokens chosen and remembered on the device.

Token choice, suppression, log-probabilities, the guard against loops and the end are those of
`service.backends.decoding`, in tensors: nobody waits for a token to know the next.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from service.backends.repetition import LONGEST_CYCLE, TIMES, TOKENS
from service.backends.sequences import Job, TokenRules
from service.backends.torch.uploads import on_device

_FIELDS = ("token", "past", "count", "limit", "seed", "ended")
_WIDTH = len(_FIELDS) + 2 * LONGEST_CYCLE
_RECENT = slice(len(_FIELDS), len(_FIELDS) + LONGEST_CYCLE)
_RUNS = slice(len(_FIELDS) + LONGEST_CYCLE, _WIDTH)

NOTHING = -1
"""In place of a token."""

LOOPED = 2
"""State of a row; 0 goes on, 1 has ended."""


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """See `service.backends.sequences.TokenRules`: its masks on the device.

    Attributes:
        enough: [cycles] tokens in a row that repeat those a cycle before, from which on it is a loop.
    """

    end_token: int
    no_speech_token: int | None
    first_mask: torch.Tensor
    mask: torch.Tensor
    enough: torch.Tensor

    @classmethod
    def on(cls, device: torch.device, rules: TokenRules) -> Self:
        enough = np.array([max(cycle * TIMES, TOKENS) - cycle for cycle in range(1, LONGEST_CYCLE + 1)])
        parts = (torch.from_numpy(one).to(device) for one in (rules.first_mask, rules.mask, enough))
        return cls(rules.end_token, rules.no_speech_token, *parts)


class Texts:
    """What is known of each row, an integer tensor [rows, fields]: so a row is made, moved and sliced at one stroke.

    Attributes:
        token: [rows] what is fed next.
        past: [rows] tokens in the row's cache.
        ended: [rows] 1 where nothing more is chosen: the row is computed along, and nothing changes.
    """

    def __init__(self, state: torch.Tensor, temperature: torch.Tensor) -> None:
        self._state, self._temperature = state, temperature

    @classmethod
    def empty(cls, rows: int, device: torch.device) -> Self:
        state = torch.zeros((rows, _WIDTH), dtype=torch.int64, device=device)
        state[:, _FIELDS.index("ended")] = 1
        return cls(state, torch.zeros(rows, device=device))

    @property
    def token(self) -> torch.Tensor:
        return self._field("token")

    @property
    def past(self) -> torch.Tensor:
        return self._field("past")

    @property
    def ended(self) -> torch.Tensor:
        return self._field("ended")

    def slots(self, first: int, count: int) -> "Texts":
        """The same texts, some of them."""
        rows = slice(first, first + count)
        return Texts(self._state[rows], self._temperature[rows])

    def begin(self, slot: int, job: Job) -> None:
        """Put a job into a slot, its prompt and given tokens as good as fed."""
        self._state[slot].copy_(on_device(torch.from_numpy(_begun(job)), self._state.device))
        self._temperature[slot] = job.temperature

    def move(self, slot: int, to: int) -> None:
        self._state[to].copy_(self._state[slot])
        self._temperature[to].copy_(self._temperature[slot])

    def end(self, slot: int) -> None:
        """Choose nothing more there."""
        self._state[slot, _FIELDS.index("ended")] = 1

    def take(self, logits: torch.Tensor, rules: Rules, *, mask: torch.Tensor, sampled: bool, fed: bool) -> torch.Tensor:
        """Choose a token for each row that has not ended, and see whether it has now.

        Nothing is written before all is computed: if memory runs out in between, it is as if nothing had been asked.

        Args:
            logits: [rows, vocabulary] in float32, written over: memory for another half million numbers costs more
                than to compute them.
            rules: which tokens there are.
            mask: that of the rules for these rows.
            sampled: whether a row has a temperature.
            fed: whether the last token chosen is in the cache now, as it is at a step.

        Returns:
            Of each row [3, rows]: the token (NOTHING where it had ended), its log-probability at temperature 1, and the
            state now.
        """
        scores = logits.add_(mask)
        token = (self._tempered(scores) if sampled else scores).argmax(-1)
        best, top = scores.gather(1, token[:, None])[:, 0], scores.amax(-1)
        logprob = best - top - scores.sub_(top[:, None]).exp_().sum(-1).log()
        running = self.ended == 0
        said = running & (token != rules.end_token)
        runs = torch.where(self._state[:, _RECENT] == token[:, None], self._state[:, _RUNS] + 1, 0)
        recent = torch.cat((token[:, None], self._state[:, _RECENT][:, :-1]), dim=1)
        looped = said & (runs >= rules.enough).any(1)
        count = self._field("count") + said
        ended = ~said | looped | (count >= self._field("limit"))
        written = {
            "token": torch.where(said, token, self.token),
            "past": self.past + running if fed else self.past,
            "count": count,
            "ended": ended.long(),
        }
        columns = torch.stack((torch.where(running, token, NOTHING).float(), logprob, (ended.long() + looped).float()))
        for name, values in written.items():
            self._field(name).copy_(values)
        self._state[:, _RUNS].copy_(runs)
        self._state[:, _RECENT].copy_(recent)
        return columns

    def _tempered(self, scores: torch.Tensor) -> torch.Tensor:
        """Gumbel's trick: the argmax of scores with this noise is a sample of their softmax."""
        hot = self._temperature[:, None] > 0
        noise = gumbel(self._field("seed"), self._field("count"), scores.shape[1])
        return torch.where(hot, scores / self._temperature[:, None].clamp(min=1e-3) + noise, scores)

    def _field(self, name: str) -> torch.Tensor:
        return self._state[:, _FIELDS.index(name)]


def gumbel(seed: torch.Tensor, count: torch.Tensor, size: int) -> torch.Tensor:
    """[rows, size] of Gumbel noise that a row's seed, the place in its text and the token alone decide.

    A generator has a state, which rows would share; so bits are mixed (MurmurHash3's finaliser, Appleby, 2011), twice.
    """
    row = _mixed(seed ^ _mixed(count + 1))
    bits = _mixed(row[:, None] ^ (torch.arange(size, device=seed.device) * 0x9E3779B1 & _32_BITS)[None])
    uniform = (bits.float() + 0.5) * 2.0**-32
    return -torch.log(-torch.log(uniform.clamp(1e-7, 1 - 1e-7)))


_32_BITS = 0xFFFFFFFF


def _mixed(bits: torch.Tensor) -> torch.Tensor:
    bits = bits & _32_BITS
    bits = (bits ^ (bits >> 16)) * 0x85EBCA6B & _32_BITS
    bits = (bits ^ (bits >> 13)) * 0xC2B2AE35 & _32_BITS
    return bits ^ (bits >> 16)


def _begun(job: Job) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    state = np.zeros(_WIDTH, np.int64)
    given = [token for token, _ in job.given]
    known = {
        "token": job.fed[-1],
        "past": len(job.fed),
        "count": len(given),
        "limit": job.token_limit,
        "seed": job.seed,
        "ended": not job.token_limit,
    }
    for name, value in known.items():
        state[_FIELDS.index(name)] = value
    recent = np.full(LONGEST_CYCLE, NOTHING)
    runs = np.zeros(LONGEST_CYCLE, np.int64)
    for token in given:
        runs = np.where(recent == token, runs + 1, 0)
        recent = np.concatenate(([token], recent[:-1]))
    state[_RECENT], state[_RUNS] = recent, runs
    return state
