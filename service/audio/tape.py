"""The latest samples of a stream, kept for as long as somebody may ask for them, under their numbers in the stream."""

import numpy as np

from service.audio.types import SAMPLE_RATE, Samples, Span

_LEAST = 4 * SAMPLE_RATE


class Tape:
    """One array, moved to its front when it is full: most appends copy nothing but what they append."""

    def __init__(self) -> None:
        self._samples = np.empty(_LEAST, np.float32)
        self._first = self._filled = 0

    @property
    def end(self) -> int:
        """How long the stream is by now."""
        return self._first + self._filled

    def append(self, samples: Samples, *, needed: int) -> None:
        """Add what comes next; what lies before the sample `needed` may be forgotten."""
        if self._filled + len(samples) > len(self._samples):
            self._make_room(len(samples), needed)
        self._samples[self._filled : self._filled + len(samples)] = samples
        self._filled += len(samples)

    def cut(self, span: Span) -> Samples:
        """A copy of the samples of a span.

        Raises:
            ValueError: some of them are forgotten, or have not come yet.
        """
        if span.start < self._first or span.end > self.end:
            raise ValueError(f"{span} is not within samples {self._first} to {self.end}.")
        return self._samples[span.start - self._first : span.end - self._first].copy()

    def _make_room(self, more: int, needed: int) -> None:
        kept = self._samples[max(0, needed - self._first) : self._filled]
        room = max(_LEAST, 2 * (len(kept) + more))
        samples = np.empty(room, np.float32) if room > len(self._samples) else self._samples
        samples[: len(kept)] = kept
        self._first = self.end - len(kept)
        self._samples, self._filled = samples, len(kept)
