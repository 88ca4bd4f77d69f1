"""How much of Whisper's padding to 30 s must be computed?

python -m benchmarks.padding --data DIR [--model M --choices full cut:50 50/32 50x32 …]

`full` computes all 1500 encoder positions; `cut:T` stops T positions of silence behind the speech; `T/S` computes T,
then one position for every S that are left, which counts as S in every attention; `TxS` is the same without the
weights, so that one position counts as one. A window is decoded once as it is, then as the recogniser does it, which
starts again with `full` where the text looks wrong.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from benchmarks import options, report
from benchmarks.pipeline import Pipeline, load, waveform
from benchmarks.speech import POOLED, Scored, Utterance, score, wer
from model_store.config import FILE_NAME, WhisperConfig
from service.audio.types import Samples, Window
from service.backends.base import Features
from service.backends.sequences import Hypothesis, Job
from service.recognition.computation import Encode, encode
from service.recognition.decoding import decode
from service.recognition.families.whisper import POSITIONS, Whisper
from service.recognition.features import log_mel
from service.recognition.quality import doubt, silent
from service.recognition.recognizer import Recognizer
from service.recognition.types import Options

CHOICES = (
    *("full", "cut:50", "cut:100", "cut:250", "cut:500"),
    *("0/32", "10/32", "25/32", "50/32", "100/32"),
    *("50/8", "50/16", "50/64", "50/128", "50x32", "50x8"),
)


@dataclass(frozen=True)
class Padding:
    """What is computed behind the speech: `tail` positions, then one of each `stride`; 0 for none."""

    name: str
    tail: int
    stride: int
    weighted: bool

    def positions(self, frames: int) -> tuple[list[int], list[float]]:
        """For a window of so many frames of 10 ms: the positions to compute and the log-weight of each."""
        dense = min(POSITIONS, -(-frames // 2) + self.tail)
        left = POSITIONS - dense
        sparse = list(range(dense + min(self.stride, left) // 2, POSITIONS, self.stride)) if self.stride else []
        weight = float(np.log(left / len(sparse))) if sparse and self.weighted else 0.0
        return [*range(dense), *sparse], [0.0] * dense + [weight] * len(sparse)


def padding(name: str) -> Padding:
    if name == "full":
        return Padding(name, POSITIONS, 0, weighted=False)
    if name.startswith("cut:"):
        return Padding(name, int(name[4:]), 0, weighted=False)
    tail, stride = name.replace("x", "/").split("/")
    return Padding(name, int(tail), int(stride), weighted="/" in name)


class Padded(Whisper):
    """Whisper with another padding."""

    def __init__(self, pipeline: Pipeline, padding: Padding) -> None:
        self._bins = WhisperConfig.model_validate_json((pipeline.folder / FILE_NAME).read_text())
        super().__init__(pipeline.folder, self._bins)
        self._padding = padding

    def features(self, samples: Samples, *, full: bool) -> Features:
        if full:
            return super().features(samples, full=True)
        mel, silence = log_mel(samples, self._bins.mel_bins)
        positions, weights = self._padding.positions(mel.shape[1])
        values = np.full((len(mel), 2 * POSITIONS), silence, np.float32)
        values[:, : mel.shape[1]] = mel
        places = np.array(positions, np.int64)
        return Features(values, silence, places, places, np.array(weights, np.float32))


@dataclass(frozen=True)
class Found:
    plain: Scored
    checked: Scored
    doubted: int
    windows: int
    positions: float
    encode_s: float
    request_s: float


def once(recognizer: Recognizer, window: Window) -> tuple[str, bool, float, int]:
    """Text of one decoding, whether it is doubted, the encoder's seconds and its positions."""
    family = recognizer.family
    started = time.perf_counter()
    memory = encode(recognizer.backend, family, Encode(window.samples))
    spent = time.perf_counter() - started
    prompt = family.prompt(Options(), task="transcribe", language=family.languages[0])
    job = Job(memory, prompt, family.token_limit(window.duration_s))
    (hypothesis,) = decode(recognizer.backend, family, [job])
    text = b"".join(family.tokenizer.pieces(hypothesis.tokens))
    said = "" if silent(hypothesis) else text.decode(errors="replace")
    return said, doubted(hypothesis, text), spent, memory.length


def doubted(hypothesis: Hypothesis, text: bytes) -> bool:
    return doubt(hypothesis, text) is not None


def measured(recognizer: Recognizer, u: Utterance, windows: Sequence[Window]) -> Found:
    found = [once(recognizer, window) for window in windows]
    started = time.perf_counter()
    parts = list(recognizer.recognize(windows, Options()))
    spent = time.perf_counter() - started
    checked = "".join(segment.text for part in parts for segment in part.segments)
    return Found(
        plain=score(u, "".join(text for text, *_ in found)),
        checked=score(u, checked),
        doubted=sum(doubts for _, doubts, _, _ in found),
        windows=len(found),
        positions=mean(length for *_, length in found) if found else 0.0,
        encode_s=sum(seconds for _, _, seconds, _ in found),
        request_s=spent,
    )


def row(found: Sequence[Found]) -> dict[str, float]:
    return {
        "positions": mean(one.positions for one in found),
        "WER once": wer(one.plain for one in found),
        "doubted": sum(one.doubted for one in found),
        "WER": wer(one.checked for one in found),
        "encoder ms": 1e3 * mean(one.encode_s for one in found),
        "recognition ms": 1e3 * mean(one.request_s for one in found),
    }


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=POOLED)
    parser.add_argument("--model", default="whisper-tiny.en:fp32")
    parser.add_argument("--choices", nargs="+", default=list(CHOICES))
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    pipeline = load(asked, asked.model)
    cut = {u: pipeline.windows(waveform(u)) for u in utterances}
    figures: dict[str, dict[str, float]] = {}
    for name in asked.choices:
        recognizer = Recognizer(pipeline.backend, Padded(pipeline, padding(name)))
        measured(recognizer, utterances[0], cut[utterances[0]])
        figures[name] = row([measured(recognizer, u, cut[u]) for u in report.progress(utterances, name)])
    columns = list(next(iter(figures.values())))
    title = f"{asked.model}, {sum(map(len, cut.values()))} windows, means of {len(utterances)} files"
    report.show(title, ["", *columns], [[name, *cells.values()] for name, cells in figures.items()])
    report.record("padding", utterances, model=asked.model, threads=asked.threads, choices=figures)


if __name__ == "__main__":
    main()
