"""A waveform in, the spans that hold speech out: Silero VAD on onnxruntime.

The detector is a front end that every request passes, not a variant that a plan chooses, so this module alone of the
audio package imports onnxruntime.

The network walks over chunks of 512 samples with an LSTM, so its answer depends on where the grid of chunks falls and
on all that came before. Here it starts anew at every rest of the recording (`pauses.rests`), half a second early to
warm up: the same words give the same answer wherever they stand, and silence put before them moves their times exactly.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from service.audio.checkpoint import Checkpoint, always_on
from service.audio.edges import anchored, led, settled
from service.audio.pauses import FRAME, STEP, Levels, levels, rests
from service.audio.types import SAMPLE_RATE, Samples, Span, VadOptions

CHUNK = 512
"""Samples a probability, 32 ms (silero-vad, `sequence_vad.py`)."""

CONTEXT = 64
"""Samples of the chunk before that the network sees with each chunk."""

BLOCK = 512
"""Chunks a run, 16 s: memory stays flat however long the recording is."""

WARM_UP = 16
"""Chunks heard before a rest, half a second. Without, 1.5 % of a LibriSpeech reading is answered otherwise than by one
unbroken walk, 10 % of a noisy dialogue; with it 1 % and 5 %, and twice as many change little."""

STATE_SHAPE = (1, 1, 128)

EXIT_MARGIN = 0.15
"""Speech ends below the threshold less this, as in Silero's `get_speech_timestamps`."""

MIN_SPEECH_MS = 90
"""What is shorter is a click. Of 34 single spoken digits the shortest lasts twice as long."""

Probabilities = npt.NDArray[np.float32]


class SpeechDetector:
    """Silero VAD. Safe to share between threads: it holds no state between calls."""

    def __init__(self, model_path: Path, *, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.force_spinning_stop", "1")  # leave the cores to what comes next
        self._session = ort.InferenceSession(str(model_path), options, providers=["CPUExecutionProvider"])

    def spans(
        self,
        samples: Samples,
        options: VadOptions,
        *,
        preceded: bool = False,
        checkpoint: Checkpoint = always_on,
    ) -> tuple[Span, ...]:
        """The speech of a waveform with its padding, in order; the whole of it where detection is off.

        Args:
            samples: the waveform.
            options: what counts as speech.
            preceded: whether it was cut out of a longer one, and more of the same sound came before.
            checkpoint: passed at every run, 16 s at most.

        Raises:
            Exception: what the checkpoint raises.
        """
        if not len(samples):
            return ()
        if not options.enabled:
            return (Span(0, len(samples)),)
        level = levels(samples)
        found = speech_spans(self.probabilities(samples, level, checkpoint), len(samples), options)
        padding = _frames(options.prefix_padding_ms) * FRAME
        spans = led(padded(settled(found, level), len(samples), padding=padding), level, preceded=preceded)
        return anchored(spans, samples)

    def probabilities(self, samples: Samples, level: Levels, checkpoint: Checkpoint = always_on) -> Probabilities:
        """How likely each 10 ms are speech: the answer for the chunk that holds them."""
        probabilities = np.empty(len(level), np.float32)
        starts = [start for start in rests(level).tolist() if start < len(level)]
        if not starts or starts[0] * FRAME > WARM_UP * CHUNK:
            starts.insert(0, 0)
        shown = [0, *starts[1:], len(level)]
        for start, (first, last) in zip(starts, pairwise(shown), strict=True):
            begin = start * FRAME - WARM_UP * CHUNK
            heard = self._walked(samples, begin, last * FRAME, checkpoint)
            middles = np.arange(first, last) * FRAME + FRAME // 2
            probabilities[first:last] = heard[(middles - begin) // CHUNK]
        return probabilities

    def walk(self) -> "Walk":
        """One more stream to listen to."""
        return Walk(self._session)

    def chunk_probabilities(self, samples: Samples) -> Probabilities:
        """How likely each chunk is speech, in one walk as the original has it; silence fills the last chunk."""
        return self._walked(samples, 0, len(samples), always_on)

    def _walked(self, samples: Samples, start: int, end: int, checkpoint: Checkpoint) -> Probabilities:
        """How likely each chunk of samples `start` to `end` is speech, with silence on both sides of them."""
        chunks = -(-(end - start) // CHUNK)
        held, silent = samples[max(start, 0) : end], min(start, 0)
        probabilities = np.empty(chunks, np.float32)
        hidden = cell = np.zeros(STATE_SHAPE, np.float32)
        for first in range(0, chunks, BLOCK):
            checkpoint()
            last = min(first + BLOCK, chunks)
            line = _cut(held, silent + first * CHUNK - CONTEXT, silent + last * CHUNK)
            rows = np.lib.stride_tricks.sliding_window_view(line, CONTEXT + CHUNK)[::CHUNK].copy()
            feeds = {"input": rows, "h": hidden, "c": cell}
            probabilities[first:last], hidden, cell = self._session.run(["speech_probs", "hn", "cn"], feeds)
        return probabilities


class Walk:
    """The speech of a stream as it comes, in one unbroken walk.

    A chunk a run (47 us), so that the answers are the same however the samples were split.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._row = np.zeros((1, CONTEXT + CHUNK), np.float32)
        self._filled = 0
        self._hidden = self._cell = np.zeros(STATE_SHAPE, np.float32)

    def push(self, samples: Samples) -> Iterator[float]:
        """How likely each chunk is speech that these samples complete."""
        while len(samples):
            room = CHUNK - self._filled
            part, samples = samples[:room], samples[room:]
            start = CONTEXT + self._filled
            self._row[0, start : start + len(part)] = part
            self._filled += len(part)
            if self._filled == CHUNK:
                yield self._answer()

    def rest(self) -> tuple[float, int] | None:
        """The same for what is left, with silence behind it, and its samples: the next chunk begins after them."""
        length = self._filled
        if not length:
            return None
        self._row[0, CONTEXT + length :] = 0.0
        return self._answer(), length

    def _answer(self) -> float:
        feeds = {"input": self._row, "h": self._hidden, "c": self._cell}
        probability, self._hidden, self._cell = self._session.run(["speech_probs", "hn", "cn"], feeds)
        end = CONTEXT + self._filled
        self._row[0, :CONTEXT] = self._row[0, end - CONTEXT : end].copy()
        self._filled = 0
        return float(probability[0])


def _cut(samples: Samples, start: int, end: int) -> Samples:
    """Samples `start` to `end`, with silence where that is before the beginning or past the end."""
    held = samples[max(start, 0) : end]
    if start >= 0 and len(held) == end - start:
        return held
    line = np.zeros(end - start, np.float32)
    line[max(-start, 0) : max(-start, 0) + len(held)] = held
    return line


def speech_spans(probabilities: Probabilities, length: int, options: VadOptions) -> tuple[Span, ...]:
    """Spans by hysteresis from the probability of each 10 ms, unpadded.

    Speech begins where the threshold is reached. It ends where the probability falls below the threshold less 0.15, if
    the threshold is not reached again within `silence_duration_ms`. What is shorter than 90 ms is dropped.
    """
    loud = np.flatnonzero(probabilities >= options.threshold)
    if not len(loud):
        return ()
    quiet = np.append(np.flatnonzero(probabilities < options.threshold - EXIT_MARGIN), len(probabilities))
    ends = quiet[np.searchsorted(quiet, loud)]
    breaks = loud[1:] - ends[:-1] >= max(1, _frames(options.silence_duration_ms))
    first, last = loud[np.append(True, breaks)], ends[np.append(breaks, True)]
    kept = last - first >= _frames(MIN_SPEECH_MS)
    bounds = zip(first[kept].tolist(), last[kept].tolist(), strict=True)
    return tuple(Span(start * FRAME, min(end * FRAME, length)) for start, end in bounds)


def _frames(duration_ms: int) -> int:
    return duration_ms * SAMPLE_RATE // 1000 // FRAME


def padded(spans: tuple[Span, ...], length: int, *, padding: int) -> tuple[Span, ...]:
    """Each span with `padding` more samples on both sides; neighbours closer than twice that meet in the middle.

    Where the recording begins in the padding, up to 10 ms of it are left out: the speech then keeps its place on the
    encoders' grid of 20 ms, as if silence had come before.
    """
    starts = [_padded_start(span.start, padding) for span in spans]
    ends = [min(length, span.end + padding) for span in spans]
    for i in range(len(spans) - 1):
        if ends[i] > starts[i + 1]:
            ends[i] = starts[i + 1] = (spans[i].end + spans[i + 1].start) // 2 // FRAME * FRAME
    leads = [span.start - start for span, start in zip(spans, starts, strict=True)]
    return tuple(map(Span, starts, ends, leads))


def _padded_start(start: int, padding: int) -> int:
    return start - padding if start >= padding else min(start, (start - padding) % STEP)
