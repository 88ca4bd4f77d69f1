"""How far are word times off, and does inserted silence move them by exactly its length?

python -m benchmarks.words --data DIR [--model M --peer-python PYTHON --points N]

First the start of each sentence of the long recordings against the first of its words, where that and the next were
heard right: once against the time at which its recording was put in, which has some silence at its head, once against
where its sound begins. Then k seconds of digital silence are put in at pauses and just anywhere: every later word must
move by k, no earlier one may move. The word that follows the cut at once has columns of its own: where the cut is
within its sound, it is a matter of taste where it begins.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks import options, peer, report
from benchmarks.latency import quantile
from benchmarks.local import variant
from benchmarks.peer import COMPUTE, Peer
from benchmarks.pipeline import waveform
from benchmarks.shifts import Shift, any_points, inserted, pause_points, shift, wav
from benchmarks.speech import LONG, Utterance, sentences
from benchmarks.timing import Timed, matches, onset_s, timed
from model_store.evaluate.serving import Serving
from service.audio.types import SAMPLE_RATE, Samples

SILENCES_S = (1.0, 2.5, 5.0, 1.2345)
"""The last is on no grid of frames."""

EXCERPT_S = 90
"""Of the long recordings the first so many seconds are shifted."""

TOLERANCE_MS = 20.5
"""What is asked is 20 ms: one position of the encoder, here with half a millisecond for rounding."""

WORST = 8

Hear = Callable[[Utterance], Sequence[Timed]]


@dataclass(frozen=True)
class Starts:
    """By how many seconds the starts of sentences are off, against where they were put in and where sound begins."""

    sentences: int
    from_put_in_s: tuple[float, ...]
    from_sound_s: tuple[float, ...]


def starts(long: Sequence[Utterance], hear: Hear) -> Starts:
    put_in: list[float] = []
    sound: list[float] = []
    total = 0
    for u in report.progress(long, "starts"):
        said, samples, heard = sentences(u), waveform(u), hear(u)
        total += len(said)
        words = [timed((word, one.start_s, one.end_s) for word in one.text.split()) for one in said]
        flat = [word for group in words for word in group]
        same = matches(flat, heard)
        first = 0
        for sentence, group in zip(said, words, strict=True):
            found = same.get(first)
            if found is not None and same.get(first + 1) == found + 1:
                put_in.append(heard[found].start_s - sentence.start_s)
                sound.append(heard[found].start_s - onset_s(samples, sentence.start_s, sentence.end_s))
            first += len(group)
    return Starts(total, tuple(put_in), tuple(sound))


def show_starts(found: dict[str, Starts]) -> dict[str, dict[str, float]]:
    """Milliseconds."""
    figures: dict[str, dict[str, float]] = {}
    for system, one in found.items():
        for against, errors in (("recording", one.from_put_in_s), ("sound", one.from_sound_s)):
            off = [1e3 * abs(error) for error in errors]
            figures[f"{system}, from the {against}'s start"] = {
                "sentences": one.sentences,
                "matched": len(off),
                "median": median(off),
                "p90": quantile(off, 0.9),
                "worst": max(off),
                "signed median": 1e3 * median(errors),
            }
    columns = list(next(iter(figures.values())))
    report.show("Starts of sentences, ms off", ["", *columns], [[name, *row.values()] for name, row in figures.items()])
    return figures


def shifts(wren: Serving, model: str, utterances: Sequence[Utterance], points: int) -> Iterator[tuple[str, Shift]]:
    """("pause" or "anywhere", what it did), for each length of silence; more points in what is longer."""
    random = np.random.default_rng(0)

    def hear(samples: Samples) -> Sequence[Timed]:
        return words_of(wren, wav(samples), model)

    for u in report.progress(utterances, "shifts"):
        samples = waveform(u)[: EXCERPT_S * SAMPLE_RATE]
        count = points * (4 if u.set_name == LONG else 1)
        before = hear(samples)
        for kind, place in (("pause", pause_points), ("anywhere", any_points)):
            for at in place(samples, count, random):
                for silence_s in SILENCES_S:
                    after = hear(inserted(samples, at, silence_s))
                    yield kind, shift(u.name, before, after, at_s=at / SAMPLE_RATE, silence_s=silence_s)


def words_of(wren: Serving, audio: bytes, model: str) -> Sequence[Timed]:
    transcript = wren.transcribe(audio, model, language="en", words=True).served.transcript
    words = (word for segment in transcript.segments for word in segment.words)
    return timed((word.text, word.start_s, word.end_s) for word in words)


def show_shifts(found: Sequence[tuple[str, Shift]]) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    for name in ("pause", "anywhere"):
        for silence_s in SILENCES_S:
            ours = [one for kind, one in found if kind == name and one.silence_s == silence_s]
            next_ = [1e3 * abs(one.off_s[0]) for one in ours if one.off_s]
            rest = [1e3 * abs(error) for one in ours for error in one.off_s[1:]]
            earlier = [1e3 * abs(error) for one in ours for error in one.earlier_s]
            figures[f"{name}, {silence_s:g} s"] = {
                "runs": len(ours),
                "next": len(next_),
                "next off": sum(error > TOLERANCE_MS for error in next_),
                "next max ms": max(next_, default=0.0),
                "rest": len(rest),
                "rest off": sum(error > TOLERANCE_MS for error in rest),
                "rest p99 ms": quantile(rest, 0.99) if rest else 0.0,
                "rest max ms": max(rest, default=0.0),
                "other text": sum(one.changed for one in ours),
                "earlier": len(earlier),
                "earlier off": sum(error > TOLERANCE_MS for error in earlier),
            }
    columns = list(next(iter(figures.values())))
    title = "Silence put in: later words that are over 20 ms from where they should be"
    report.show(title, ["", *columns], [[name, *row.values()] for name, row in figures.items()])
    cells = [(one, 1e3 * max((abs(error) for error in one.off_s[1:]), default=0.0)) for _, one in found]
    worst = sorted(cells, key=lambda cell: cell[1], reverse=True)[:WORST]
    rows = [(one.name, one.at_s, one.silence_s, off, one.changed) for one, off in worst]
    report.show("Worst rows, the next word left out", ["", "at s", "silence s", "ms off", "words changed"], rows)
    return figures


def all_starts(asked: argparse.Namespace, wren: Serving, model: str, long: Sequence[Utterance]) -> dict[str, Starts]:
    found = {model: starts(long, lambda u: words_of(wren, u.path.read_bytes(), model))}
    if asked.peer_python:
        manifest = variant(asked.store, model)
        compute = COMPUTE[manifest.precision]
        with Peer(asked.peer_python, manifest.model, compute, threads=asked.threads) as other:
            found[other.name] = starts(long, lambda u: _words(other, u))
    return found


def _words(other: Peer, u: Utterance) -> Sequence[Timed]:
    return timed(other.transcribe(u.path, language=u.lang, words=True).words)


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument(
        "--points", type=int, default=1, help="places a short recording; four times as many in long ones"
    )
    peer.add_option(parser)
    asked = parser.parse_args()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    long = [u for u in utterances if sentences(u)]
    model = variant(asked.store, asked.model).name
    found: dict[str, object] = {}
    with Serving(asked.store, model, threads=asked.threads) as wren:
        if long:
            found["starts_ms"] = show_starts(all_starts(asked, wren, model, long))
        found["shifts"] = show_shifts(list(shifts(wren, model, utterances, asked.points)))
    report.record("words", utterances, model=model, **found)


if __name__ == "__main__":
    main()
