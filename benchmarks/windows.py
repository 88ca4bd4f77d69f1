"""How long should windows be, and what does speech detection change?

python -m benchmarks.windows --data DIR [--model M --targets 6 10 … --vad on off]

Speech detection, packing and recognition of waveforms that are decoded already, for each length that windows are packed
to. Without speech detection a recording is one span, cut every 20 to 30 s where it is quietest, whatever the target.
"""

import argparse
import time
from collections.abc import Sequence

from benchmarks import options, report
from benchmarks.pipeline import Pipeline, load, waveform
from benchmarks.speech import LONG, Scored, Utterance, groups, score, wer
from service.audio.types import Samples
from service.recognition.types import Options

TARGETS_S = (6.0, 10.0, 15.0, 20.0, 25.0, 30.0)

Setting = tuple[str, float | None, bool]
"""A name, the target, whether speech is detected."""


def heard(pipeline: Pipeline, u: Utterance, samples: Samples, setting: Setting) -> tuple[Scored, float, int]:
    """The score, the seconds it took and the windows it had."""
    _, target_s, vad = setting
    started = time.perf_counter()
    cut = pipeline.windows(samples, vad=vad, target_s=target_s)
    parts = list(pipeline.recognizer.recognize(cut, Options(language=u.lang)))
    spent = time.perf_counter() - started
    text = "".join(segment.text for part in parts for segment in part.segments)
    return score(u, text), spent, len(cut)


def row(found: dict[Utterance, tuple[Scored, float, int]], members: Sequence[Utterance]) -> dict[str, float]:
    ours = [found[u] for u in members]
    audio_s, spent_s = sum(u.duration_s for u in members), sum(spent for _, spent, _ in ours)
    return {
        "windows": sum(count for *_, count in ours),
        "WER": wer(scored for scored, *_ in ours),
        "times real time": audio_s / spent_s,
    }


def settings(asked: argparse.Namespace) -> list[Setting]:
    found: list[Setting] = [(f"{target:g} s", target, True) for target in asked.targets] if "on" in asked.vad else []
    return [*found, ("no detection", None, False)] if "off" in asked.vad else found


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument("--targets", nargs="+", type=float, default=list(TARGETS_S), metavar="SECONDS")
    parser.add_argument("--vad", nargs="+", choices=["on", "off"], default=["on", "off"])
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    pipeline = load(asked, asked.model)
    wanted = {name: of for name, of in groups(utterances).items() if name in ("pooled", LONG)}
    waveforms = {u: waveform(u) for u in utterances}
    figures: dict[str, dict[str, dict[str, float]]] = {name: {} for name in wanted}
    for setting in settings(asked):
        turns = report.progress(utterances, setting[0])
        found = {u: heard(pipeline, u, waveforms[u], setting) for u in turns}
        for name, members in wanted.items():
            figures[name][setting[0]] = row(found, members)
    for name, rows in figures.items():
        columns = list(next(iter(rows.values())))
        report.show(
            f"{asked.model}, {name}", ["", *columns], [[label, *cells.values()] for label, cells in rows.items()]
        )
    report.record("windows", utterances, model=asked.model, threads=asked.threads, settings=figures)


if __name__ == "__main__":
    main()
