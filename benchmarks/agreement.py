"""Does a batch change a window's text, and does torch hear what FP32 hears on the CPU?

python -m benchmarks.agreement --data DIR [--models … --rows 8 64 --device cpu --limit N]

The windows of the development sets, as requests are cut into them. Each variant recognises each window alone, then in
batches that rows join and leave; counted are the windows whose tokens are not those of the window alone. The measure of
the WER is the FP32 variant of the same model on onnxruntime and the CPU, with the same windows.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks import options, report
from benchmarks.batches import Batches, Ran
from benchmarks.card import Card, card, missing
from benchmarks.gpu import ENGLISH, MODEL, VARIANTS
from benchmarks.local import there
from benchmarks.pipeline import load, waveform
from benchmarks.speech import POOLED, Utterance, score, wer
from service.audio.types import Window

EXACT = "fp32"
GPU_ROWS, CPU_ROWS = (8, 64), (8,)

Cut = Sequence[tuple[Utterance, Window]]
"""The windows of all recordings, in order."""


@dataclass(frozen=True, slots=True)
class Company:
    """What a batch of so many rows changed: windows whose tokens are others than alone, and the WER."""

    rows: int
    differ: int
    wer: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of a variant: `points` of WER over FP32 on the CPU, each window alone; `differ` of its texts are others."""

    windows: int
    wer: float
    points: float
    differ: int
    company: tuple[Company, ...]


def differing(one: Sequence[object], other: Sequence[object]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def rate(windows: Cut, texts: Sequence[str]) -> float:
    """WER of recordings whose windows' texts these are."""
    joined: dict[Utterance, str] = defaultdict(str)
    for (u, _), text in zip(windows, texts, strict=True):
        joined[u] += text
    return wer(score(u, text) for u, text in joined.items())


def agreement(windows: Cut, exact: Ran, alone: Ran, together: Mapping[int, Ran]) -> Agreement:
    own, measure = rate(windows, alone.texts), rate(windows, exact.texts)
    company = tuple(
        Company(rows, differing(one.spelled, alone.spelled), rate(windows, one.texts)) for rows, one in together.items()
    )
    return Agreement(len(windows), own, own - measure, differing(alone.spelled, exact.spelled), company)


def recognised(asked: argparse.Namespace, name: str, windows: Cut, rows: Sequence[int]) -> dict[int, Ran]:
    """By the rows of a batch."""
    pipeline, todo = load(asked, name), [window for _, window in windows]
    found = {n: Batches(pipeline.recognizer, rows=n).run(todo, ENGLISH) for n in report.progress(rows, name)}
    pipeline.backend.close()
    return found


def cut(asked: argparse.Namespace, name: str, utterances: Sequence[Utterance]) -> Cut:
    """As requests are; a recording without speech has no window."""
    pipeline = load(asked, name)
    return [(u, window) for u in utterances for window in pipeline.windows(waveform(u))]


def compared(asked: argparse.Namespace, utterances: Sequence[Utterance], names: Sequence[str]) -> dict[str, Agreement]:
    """Each with FP32 of its model."""
    found = {}
    for model in dict.fromkeys(name.partition(":")[0] for name in names):
        exact = f"{model}:{EXACT}"
        windows = cut(asked, exact, utterances)
        measure = recognised(asked, exact, windows, [1])[1]
        for name in (one for one in names if one.startswith(f"{model}:")):
            runs = recognised(asked, name, windows, [1, *asked.rows])
            found[name] = agreement(windows, measure, runs.pop(1), runs)
    return found


def show(found: Mapping[str, Agreement], at: Card) -> None:
    columns = ["", "windows", "WER alone", "points over FP32", "texts not FP32's", "rows", "texts not as alone", "WER"]
    rows: list[list[report.Cell]] = []
    for name, one in found.items():
        for company in one.company:
            own: list[report.Cell] = [name, one.windows, one.wer, one.points, one.differ]
            rows.append([*own, company.rows, company.differ, company.wer])
    report.show(f"Windows as requests have them, on {at.title}", columns, rows)


def parsed() -> tuple[argparse.Namespace, Card]:
    parser = options.parser(__doc__, sets=POOLED)
    parser.add_argument("--models", nargs="+", default=[f"{MODEL}:{variant}" for variant in VARIANTS])
    parser.add_argument("--rows", nargs="+", type=int, help="of a batch; default: 8 64, on a CPU 8")
    options.add_device(parser)
    asked, at = parser.parse_args(), card()
    asked.rows = asked.rows or (GPU_ROWS if at.gpu else CPU_ROWS)
    return asked, at


def main() -> None:
    asked, at = parsed()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    manifests, absent = there(asked.store, asked.models)
    found = compared(asked, utterances, [one.name for one in manifests])
    show(found, at)
    missing(absent)
    report.record(
        "agreement",
        utterances,
        card=asdict(at),
        threads=asked.threads,
        missing=absent,
        figures={name: asdict(one) for name, one in found.items()},
    )


if __name__ == "__main__":
    main()
