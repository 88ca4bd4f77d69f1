"""Moonshine: how its samples are padded, how it is primed, what it may not say.

It reads the waveform itself, of any length, knows English only and tells nothing but the text (Jeffries et al., 2024).
"""

from pathlib import Path

import numpy as np

from model_store.config import MoonshineConfig
from service.audio.types import MAX_WINDOW_S, SAMPLE_RATE, Samples
from service.backends.base import Features
from service.backends.sequences import Prompt
from service.recognition.families.base import masking
from service.recognition.tokenizer import ByteFallbackTokenizer, Tokenizer
from service.recognition.types import Options, Task

MIN_WINDOW_S = 1.0
"""Shorter windows get silence behind them. Of 34 single digits of half a second 56 % were wrong without, 41 % with it;
on sets of longer recordings it changed nothing."""

TOKENS_PER_S = 6.5
"""What the makers allow (transformers, `moonshine.md`): a loop says more."""

TOKENS_MORE = 8
"""On top: letters that are spelled come at 7 tokens a second."""


TARGET_WINDOW_S = 20.0
"""Attention over a window costs the square of its length. INT8, WER on 10 and 30 minutes read aloud, and seconds for
both on one thread: packed to 10 s 5.4 and 5.6 in 22 s, to 20 s 5.4 and 5.9 in 23 s, to 30 s 6.3 and 5.9 in 41 s."""


class Moonshine:
    """See `service.recognition.families.base.Family`."""

    pads = False
    max_window_s = float(MAX_WINDOW_S)
    target_window_s = TARGET_WINDOW_S
    position_s: float | None = None
    languages: tuple[str, ...] = ("en",)
    first_language_token: int | None = None
    no_speech_token: int | None = None

    def __init__(self, folder: Path, config: MoonshineConfig) -> None:
        tokenizer = ByteFallbackTokenizer(folder / "tokenizer.json")
        self.tokenizer: Tokenizer = tokenizer
        self._config = config
        self.end_token = config.end_token
        unknown = range(tokenizer.size, config.vocabulary)
        self.mask = masking(config.vocabulary, [*(tokenizer.special - {config.end_token}), *unknown])
        self.first_mask = self.mask

    def features(self, samples: Samples, *, full: bool, waveform: bool = False) -> Features:
        """Neither changes anything: it reads the waveform, and every position there is, is always computed."""
        length = self._positions(len(samples))
        values = np.zeros(length * self._config.position_samples + self._config.context_samples, np.float32)
        values[: len(samples)] = samples
        places = np.arange(length)
        return Features(values, 0.0, places, places, np.zeros(length, np.float32))

    def prompt(self, options: Options, *, task: Task, language: str) -> Prompt:
        """The start token: it was not trained to follow a prompt, nor to translate."""
        return Prompt((self._config.start_token,), start=0)

    def token_limit(self, duration_s: float) -> int:
        """Within the cache, which holds the start token too."""
        return min(self._config.max_positions - 1, TOKENS_MORE + int(duration_s * TOKENS_PER_S))

    def _positions(self, samples: int) -> int:
        """So many that every sample is seen by one of them."""
        samples = max(samples, int(MIN_WINDOW_S * SAMPLE_RATE))
        return max(1, -(-(samples - self._config.context_samples) // self._config.position_samples))
