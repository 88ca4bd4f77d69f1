"""How much audio a second, and how soon, on a GPU, or by the same code on the CPU?

python -m benchmarks.gpu --data DIR --peer-python PYTHON [--models … --rows 1 8 … --device cpu]

Windows of 30 s cut anywhere out of the long recordings, samples in memory in, text out, features included, no speech
detection: by the recogniser in batches, rows joining and leaving as in the engine's executors, batches closed, or each
window decoded once, then in the engine. The peer's batched pipeline gets the same windows and decodes each once.
Without a GPU the sizes are small, and all that is printed says that it is of the CPU.

Over HTTP `load` asks, on the same card:

python -m benchmarks.load --data DIR --models whisper-tiny.en:fp16-torch --clients 64 --sets longform --threads 16
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np

from benchmarks import options, peer, report
from benchmarks.batches import Batches, Kind, Ran
from benchmarks.card import Card, card, missing
from benchmarks.inside import Inside
from benchmarks.latency import quantile
from benchmarks.local import there
from benchmarks.peer import COMPUTE, Peer, PeerDevice
from benchmarks.pipeline import backend
from benchmarks.speech import LONG
from benchmarks.thirties import repeated, spoken, windows
from model_store.manifest import Manifest
from model_store.registry import Registry
from service.audio.types import MAX_WINDOW_S, Samples, Window
from service.recognition import families
from service.recognition.recognizer import Recognizer
from service.recognition.types import Options

MODEL = "whisper-tiny.en"
VARIANTS = ("fp16-torch", "bf16-torch", "int8-torch", "int8-weights-torch")
GPU_ROWS, CPU_ROWS = (1, 8, 32, 64, 128, 256), (1, 4, 16)

UTTERANCE_S = 10.0
ENGLISH = Options(language="en")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is enough to be timed: windows of a run at least, and for each row; and requests that come alone."""

    rows: tuple[int, ...]
    least: int
    a_row: int
    most: int
    alone: int

    def windows(self, rows: int) -> int:
        return min(self.most, max(self.least, self.a_row * rows))


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one number of rows: the median of the turns, all their throughputs, and stages of a turn of their own.

    `tokens` and `decodings` are of a window: one that looks wrong is decoded again, or in halves.
    """

    rows: int
    kind: Kind
    windows: int
    rtfx: float
    rtfx_of_turns: tuple[float, ...]
    tokens: float
    decodings: float
    encode_percent: float
    decode_percent: float
    host_percent: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of a request that comes alone, and seconds of audio a second of all windows at once."""

    window_p50_ms: float
    window_p95_ms: float
    utterance_p50_ms: float
    utterance_p95_ms: float
    at_once: int
    rtfx: float


def sizes(asked: argparse.Namespace, *, gpu: bool) -> Sizes:
    """Large where there is a GPU, small on a CPU, and without --data only to see that it works."""
    if not asked.data:
        return Sizes(tuple(asked.rows or (1, 4)), least=2, a_row=1, most=8, alone=2)
    if gpu:
        return Sizes(tuple(asked.rows or GPU_ROWS), least=64, a_row=4, most=1024, alone=50)
    return Sizes(tuple(asked.rows or CPU_ROWS), least=8, a_row=2, most=32, alone=10)


def speed(turns: Sequence[Ran], staged: Ran, *, rows: int, kind: Kind) -> Speed:
    rtfx, windows_ = tuple(one.rtfx for one in turns), len(staged.windows)
    middle, again = statistics.median(rtfx), staged.decodings / windows_
    return Speed(rows, kind, windows_, middle, rtfx, staged.tokens, again, *staged.shares)


def batched(recognizer: Recognizer, found: Sequence[Window], size: Sizes, *, repeats: int) -> list[Speed]:
    """Rows that join and leave, and closed batches, for each number of rows; a turn beforehand makes all warm."""
    speeds = []
    for rows in report.progress(size.rows, "rows"):
        batches, todo = Batches(recognizer, rows=rows), repeated(found, size.windows(rows))
        for kind in get_args(Kind):
            batches.run(todo, ENGLISH, kind=kind)
            staged = batches.run(todo, ENGLISH, kind=kind, timed=True)
            turns = [batches.run(todo, ENGLISH, kind=kind) for _ in range(repeats)]
            speeds.append(speed(turns, staged, rows=rows, kind=kind))
    return speeds


def in_engine(asked: argparse.Namespace, name: str, waveforms: Sequence[Samples], size: Sizes) -> Latency:
    long, short = ([one.samples for one in windows(waveforms, seconds=s)] for s in (MAX_WINDOW_S, UTTERANCE_S))
    crowd = [one.samples for one in repeated(windows(waveforms), size.windows(max(size.rows)))]
    with Inside(asked.store, name, threads=asked.threads) as engine:
        for samples in (long, short):
            engine.one_by_one(samples[:2], vad=samples is short)
        one_window = engine.one_by_one(_some(long, size.alone), vad=False)
        one_utterance = engine.one_by_one(_some(short, size.alone), vad=True)
        engine.at_once(crowd)
        seconds = engine.at_once(crowd)
    return Latency(
        *_quantiles_ms(one_window), *_quantiles_ms(one_utterance), len(crowd), MAX_WINDOW_S * len(crowd) / seconds
    )


def _quantiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    return 1e3 * quantile(seconds, 0.5), 1e3 * quantile(seconds, 0.95)


def _some(recordings: Sequence[Samples], count: int) -> Sequence[Samples]:
    """From everywhere."""
    return recordings[:: max(1, len(recordings) // count)][:count]


def theirs(
    asked: argparse.Namespace, found: Sequence[Window], size: Sizes, *, gpu: bool
) -> dict[str, dict[int, float]]:
    """The peer's seconds of audio a second, by its precision and windows a batch."""
    if not asked.peer_python:
        return {}
    speeds: dict[str, dict[int, float]] = {}
    with TemporaryDirectory() as folder:
        for compute in ("fp16", "int8") if gpu else ("int8",):
            device: PeerDevice = "cuda" if gpu else "cpu"
            with Peer(asked.peer_python, MODEL, COMPUTE[compute], threads=asked.threads, device=device) as other:
                name = f"{other.name}, batched ({device})"
                speeds[name] = {
                    rows: _their_rtfx(other, Path(folder), repeated(found, size.windows(rows)), rows, asked.repeats)
                    for rows in size.rows
                }
    return speeds


def _their_rtfx(other: Peer, folder: Path, todo: Sequence[Window], rows: int, repeats: int) -> float:
    path = folder / f"{len(todo)}.npy"
    np.save(path, np.concatenate([one.samples for one in todo]))
    clips = [(MAX_WINDOW_S * n, MAX_WINDOW_S * (n + 1)) for n in range(len(todo))]
    other.windows(path, clips[:rows], language="en", batch=rows)
    seconds = [other.windows(path, clips, language="en", batch=rows).seconds for _ in range(repeats)]
    return MAX_WINDOW_S * len(todo) / statistics.median(seconds)


def ours(
    asked: argparse.Namespace, manifest: Manifest, waveforms: Sequence[Samples], size: Sizes
) -> tuple[list[Speed], Latency]:
    folder = Registry(asked.store).path(manifest)
    recognizer = Recognizer(backend(folder, manifest.runtime, threads=asked.threads), families.load(folder))
    recognizer.warmup()
    speeds = batched(recognizer, windows(waveforms), size, repeats=asked.repeats)
    recognizer.backend.close()
    del recognizer
    return speeds, in_engine(asked, manifest.name, waveforms, size)


def show(found: dict[str, tuple[list[Speed], Latency]], others: dict[str, dict[int, float]], at: Card) -> None:
    columns = ["", "rows", "batches", "windows", "x real time", "tokens", "decodings", "encode %", "decode %", "host %"]
    rows: list[list[report.Cell]] = []
    for name, (speeds, _) in found.items():
        for one in speeds:
            shares = [one.encode_percent, one.decode_percent, one.host_percent]
            rows.append([name, one.rows, one.kind, one.windows, one.rtfx, one.tokens, one.decodings, *shares])
    rows += [[name, count, "once", None, rtfx] for name, by in others.items() for count, rtfx in by.items()]
    report.show(f"Windows of 30 s, on {at.title}", columns, rows)
    columns = ["", "30 s, p50 ms", "p95", f"{UTTERANCE_S:g} s, p50 ms", "p95", "windows at once", "x real time"]
    report.show(f"In the engine, on {at.title}", columns, [[n, *asdict(one).values()] for n, (_, one) in found.items()])


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=(LONG,))
    parser.add_argument("--models", nargs="+", default=[f"{MODEL}:{variant}" for variant in VARIANTS])
    parser.add_argument("--rows", nargs="+", type=int, help="default: 1 to 256 on a GPU, 1 4 16 on a CPU")
    parser.add_argument("--repeats", type=int, default=3)
    options.add_device(parser)
    peer.add_option(parser)
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    at = card()
    size = sizes(asked, gpu=at.gpu)
    utterances, waveforms = spoken(asked)
    manifests, absent = there(asked.store, asked.models)
    found = {one.name: ours(asked, one, waveforms, size) for one in manifests}
    others = theirs(asked, windows(waveforms), size, gpu=at.gpu)
    show(found, others, at)
    missing(absent)
    report.record(
        "gpu",
        utterances,
        card=asdict(at),
        threads=asked.threads,
        repeats=asked.repeats,
        missing=absent,
        batches={name: [asdict(one) for one in speeds] for name, (speeds, _) in found.items()},
        engine={name: asdict(one) for name, (_, one) in found.items()},
        peer=others,
    )


if __name__ == "__main__":
    main()
