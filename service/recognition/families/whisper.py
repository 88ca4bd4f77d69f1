"""Whisper: what of its padding is computed, how it is prompted, what it may not say."""

from pathlib import Path

import numpy as np

from model_store.config import Padding, WhisperConfig
from service.audio.mel import HOP
from service.audio.types import MAX_WINDOW_S, Samples
from service.backends.base import Features, Floats
from service.backends.sequences import Prompt
from service.recognition.families.base import masking
from service.recognition.features import log_mel
from service.recognition.tokenizer import ByteLevelTokenizer, Tokenizer
from service.recognition.types import Options, Task

POSITIONS = 1500
"""Encoder positions of 30 s, the length that every training window was padded to."""

POSITION_S = 0.02

TAIL = 100
"""Positions of silence computed one by one behind the speech: 2 s. Measured: docs/benchmarks.md, "Padding"."""

STRIDE = 16
"""Behind the tail, one position stands for this many. Measured: the same place."""

TEXT_LIMIT = 224
"""The most text tokens of a window, and of a prompt with its marker (whisper, `decoding.py`: half the context)."""


class Whisper:
    """See `service.recognition.families.base.Family`."""

    pads = True
    max_window_s = float(MAX_WINDOW_S)
    target_window_s = 9.0
    position_s: float | None = POSITION_S

    def __init__(self, folder: Path, config: WhisperConfig) -> None:
        self.tokenizer: Tokenizer = ByteLevelTokenizer(folder / "tokenizer.json")
        self._config = config
        self.end_token = config.end_token
        self.no_speech_token: int | None = config.no_speech_token
        self.languages = config.languages
        self.first_language_token = config.first_language_token
        specials = range(config.end_token + 1, config.vocabulary)
        self.mask = masking(config.vocabulary, [*config.suppressed_tokens, *specials])
        self.first_mask = self.mask + masking(config.vocabulary, config.suppressed_first_tokens)

    def features(self, samples: Samples, *, full: bool, waveform: bool = False) -> Features:
        """An adapted model's `full` is what the others compute at once: it was not trained on more."""
        adapted = self._config.padding
        padding = (None if adapted else FULL) if full else adapted
        return padded(samples, self._config.mel_bins, padding, waveform=waveform)

    def prompt(self, options: Options, *, task: Task, language: str) -> Prompt:
        config = self._config
        start = [config.start_token]
        if config.first_language_token is not None and config.translate_token is not None:
            job = config.translate_token if task == "translate" else config.transcribe_token
            start += [config.first_language_token + self.languages.index(language), job or 0]
        start.append(config.no_timestamps_token)
        # The last text token is never fed, so it takes no place in the cache.
        before = self._context(options, config.max_positions - len(start) - (TEXT_LIMIT - 1))
        return Prompt((*before, *start), start=len(before))

    def token_limit(self, duration_s: float) -> int:
        return min(TEXT_LIMIT, 24 + int(duration_s * _TOKENS_PER_S))

    def _context(self, options: Options, room: int) -> tuple[int, ...]:
        words = " ".join(options.hotwords)
        text = " ".join(part.strip() for part in (words, options.prompt) if part.strip())
        if not text:
            return ()
        return (self._config.previous_token, *self.tokenizer.encode(f" {text}")[-(min(TEXT_LIMIT, room) - 1) :])


_TOKENS_PER_S = 25
"""More than any script needs for fast speech; a loop is found long before."""


FULL = Padding(dense=POSITIONS, sparse=0)
"""All of it."""


def padded(samples: Samples, bins: int, padding: Padding | None, *, waveform: bool = False) -> Features:
    """A window as the encoder takes it, with so much of its padding."""
    positions, log_weights = layout(-(-len(samples) // HOP), padding)
    frames = min(2 * POSITIONS, _frames_needed(positions))
    # Positions behind the frames that were computed all see silence alone, as does the last but one.
    inner = np.minimum(positions, frames // 2 - 2) if frames < 2 * POSITIONS else positions
    if waveform:
        return Features(samples, 0.0, inner, positions, log_weights)
    return Features(*_spectrogram(samples, bins, frames), inner, positions, log_weights)


def _spectrogram(samples: Samples, bins: int, frames: int) -> tuple[Floats, float]:
    """So many frames of it, silence behind its own, and the value of silence."""
    mel, silence = log_mel(samples, bins)
    values = np.full((len(mel), frames), silence, np.float32)
    used = min(frames, mel.shape[1])
    values[:, :used] = mel[:, :used]
    return values, silence


def layout(frames: int, padding: Padding | None) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Floats]:
    """Which of the 1500 positions to compute for a window of this many frames of 10 ms, and the log-weight of each.

    All that hold speech, some behind them, then the middle ones of equal stretches, which stand for all of those.
    Without a `padding` TAIL behind the speech and one of every STRIDE.
    """
    tail = TAIL if padding is None else padding.dense
    dense = min(POSITIONS, -(-frames // 2) + tail)
    left = POSITIONS - dense
    if padding is None:
        sparse = np.arange(dense + min(STRIDE, left) // 2, POSITIONS, STRIDE)
    else:
        count = min(padding.sparse, left)
        sparse = dense + ((np.arange(count) + 0.5) * left / max(1, count)).astype(np.int64)
    weight = np.log(left / len(sparse)) if len(sparse) else 0.0
    positions = np.concatenate([np.arange(dense), sparse])
    return positions, np.concatenate([np.zeros(dense), np.full(len(sparse), weight)]).astype(np.float32)


def _frames_needed(positions: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """Feature frames behind the dense positions, and four so that one more position sees nothing but silence."""
    dense = int(np.argmax(np.diff(positions, append=-1) != 1)) + 1
    return 2 * dense + 4
