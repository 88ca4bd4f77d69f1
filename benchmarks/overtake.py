"""How long does a short clip wait while a file of half an hour is in work, beside faster-whisper-server?

python -m benchmarks.overtake --data DIR [--models … --minutes 30 --clip-s 3 --peer-python PYTHON]

Recordings are joined to one file. Clips, the beginnings of others, are posted one after another: first with nothing
else to do, then from when the file is received until it is answered.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from benchmarks import options, report
from benchmarks.clients import SETS, Answer, Run, Summary, ask, summary, warm_up
from benchmarks.latency import quantile
from benchmarks.pipeline import waveform
from benchmarks.servers import Server, add_peer_options, opened, peer_versions
from benchmarks.speech import LONG, Utterance
from service.audio.types import SAMPLE_RATE

CLIPS = 24
"""Different clips, one after another and again."""

HEAD_START_S = 0.25
"""Of the file: it is received then, and still being decoded."""

NEARLY = 0.99
"""Of the length that was asked for: no further recording is put to a file of that."""


@dataclass(frozen=True, slots=True)
class Clips:
    answered: int
    failures: int
    p50_ms: float
    p95_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The clips without the file and beside it, and the file."""

    alone: Clips
    beside: Clips
    file: Summary


def joined(recordings: Sequence[Utterance], duration_s: float, folder: Path) -> Utterance:
    """The longest first, whole ones, and from the first again, until the file is as long."""
    chosen: list[Utterance] = []
    for u in cycle(sorted(recordings, key=lambda u: u.duration_s, reverse=True)):
        chosen.append(u)
        if sum(one.duration_s for one in chosen) >= NEARLY * duration_s:
            break
    path = folder / "file.flac"
    samples = np.concatenate([waveform(u) for u in chosen])
    soundfile.write(path, samples, SAMPLE_RATE)
    return Utterance("joined", path.name, path, " ".join(u.text for u in chosen), "en", len(samples) / SAMPLE_RATE)


def beginnings(recordings: Sequence[Utterance], clip_s: float, folder: Path) -> list[Utterance]:
    """The first seconds of recordings that last longer; of whichever there are, if none does."""
    longer = [u for u in recordings if u.duration_s >= clip_s] or recordings
    return [_beginning(u, clip_s, folder / f"clip{n}.wav") for n, u in enumerate(longer[:CLIPS])]


def _beginning(u: Utterance, clip_s: float, path: Path) -> Utterance:
    samples = waveform(u)[: int(clip_s * SAMPLE_RATE)]
    soundfile.write(path, samples, SAMPLE_RATE)
    return Utterance("clips", path.name, path, u.text, u.lang, len(samples) / SAMPLE_RATE)


async def measured(server: Server, file: Utterance, clips: Sequence[Utterance], *, alone_s: float) -> Overtaken:
    alone: list[Answer] = []
    beside: list[Answer] = []
    turns = cycle(clips)
    async with server.client() as http:
        end = time.monotonic() + alone_s
        while time.monotonic() < end:
            alone.append(await ask(http, next(turns)))
        posted = asyncio.create_task(ask(http, file))
        await asyncio.sleep(HEAD_START_S)
        while not posted.done():
            beside.append(await ask(http, next(turns)))
        answer = await posted
    return Overtaken(clip_times(alone), clip_times(beside), summary(Run((answer,), answer.seconds)))


def clip_times(answers: Sequence[Answer]) -> Clips:
    """Of those that were answered.

    Raises:
        RuntimeError: none was.
    """
    found_ms = [1e3 * one.seconds for one in answers if one.status == "200"]
    if not found_ms:
        raise RuntimeError("No clip was answered. A longer file leaves more time for them: see --minutes.")
    p50, p95, most = (quantile(found_ms, share) for share in (0.5, 0.95, 1.0))
    return Clips(len(found_ms), len(answers) - len(found_ms), p50, p95, most)


def show(found: dict[str, Overtaken]) -> None:
    rows: list[list[report.Cell]] = []
    for name, one in found.items():
        for when, clips in (("alone", one.alone), ("beside the file", one.beside)):
            times = [clips.p50_ms, clips.p95_ms, clips.max_ms]
            rows.append([f"{name}, {when}", clips.answered, *times, clips.failures])
    report.show("Clips", ["", "answered", "p50 ms", "p95 ms", "max ms", "failures"], rows)
    files: list[list[report.Cell]] = [
        [name, one.file.p50_ms / 1e3, one.file.rtfx, one.file.wer] for name, one in found.items()
    ]
    report.show("The file meanwhile", ["", "seconds", "RTFx", "WER"], files)


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=(*SETS, LONG))
    parser.add_argument("--models", nargs="+", default=["whisper-tiny.en:int8"])
    parser.add_argument("--minutes", type=float, help="of the file; default: 30, without --data 2")
    parser.add_argument("--clip-s", type=float, default=3.0)
    parser.add_argument("--alone-s", type=float, help="clips without the file; default: 10, without --data 1")
    add_peer_options(parser)
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    minutes = options.size(asked, asked.minutes, full=30.0, trial=2.0)
    alone_s = options.size(asked, asked.alone_s, full=10.0, trial=1.0)
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    short, long = ([u for u in utterances if (u.set_name == LONG) == wanted] for wanted in (False, True))
    found: dict[str, Overtaken] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        file, clips = joined(long or short, 60 * minutes, folder), beginnings(short, asked.clip_s, folder)
        servers = opened(asked, stack)
        for server in servers:
            asyncio.run(warm_up(server, clips))
            found[server.name] = asyncio.run(measured(server, file, clips, alone_s=alone_s))
    show(found)
    report.record(
        "overtake",
        utterances,
        peer=peer_versions(asked.peer_python) if asked.peer_python else {},
        threads=asked.threads,
        file_minutes=file.duration_s / 60,
        clip_s=asked.clip_s,
        figures={name: asdict(one) for name, one in found.items()},
    )


if __name__ == "__main__":
    main()
