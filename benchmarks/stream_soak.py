"""Does a server stay well beside two hundred clients that misbehave, and through a stream of an hour?

python -m benchmarks.stream_soak --data DIR [--sessions 200 --at-once 8 --minutes 60]

First sessions of both live protocols that drop out anywhere, send garbage, have no key or ask for nonsense, beside
four streams at real-time pace: these must hear what they hear alone, and the process must hold what it held. Then the
long recordings, joined to an hour, streamed faster than they play: memory over time, how much sent audio was not final
yet, and word times against those of the same file sent whole.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import options, report
from benchmarks.clients import ROUTE
from benchmarks.hecklers import Ending, heckled
from benchmarks.latency import quantile
from benchmarks.live import Heard, Sound, sound, stream
from benchmarks.local import variant
from benchmarks.overtake import joined
from benchmarks.pipeline import waveform
from benchmarks.servers import ANY_MODEL, Server, wren
from benchmarks.speech import LONG, Utterance, score, wer
from benchmarks.timing import Timed, matches, timed
from benchmarks.watching import Sample, Trend, gauges, last_half, sample, trend, watched

SETS = ("libri_eval", "ljspeech", LONG)
WELL_BEHAVED = 4

WARM_UP = 24
"""Other hecklers, before the process is weighed: what the libraries allocate once is not growth."""

CHUNK_S = 0.05
HOUR_CHUNK_S = 1.0

EVERY_S = 2.0
"""Between two looks at the process."""

REST_S = 10.0
"""After the storm: uvicorn closes idle connections after 5 s."""

NEAR_MS = 100
"""What is asked of word times."""

LAG = "wren_stream_lag_worst_seconds"

MOST_S = 4 * 3600
"""Of a file: the joined one may be longer than was asked for."""

SHOWN = 60
"""Letters of a reason."""

ASKED = {"interim_results": "true", "endpointing": "300"}


@dataclass(frozen=True, slots=True)
class Storm:
    """`unlike` are the well-behaved streams that heard other words than alone, or were thrown out."""

    endings: tuple[Ending, ...]
    behaved: int
    unlike: tuple[str, ...]
    before: Sample
    after: Sample
    gauges_before: dict[str, float]
    gauges_after: dict[str, float]


@dataclass(frozen=True, slots=True)
class Hour:
    """What came of the long stream.

    Attributes:
        behind_s: the most audio that the client had sent, if only into the sockets' buffers, and that was not final.
        lags_s: of finals behind the arrival of their audio, as the server shows it from time to time.
        off_ms: how far the starts of words are from those of the file.
    """

    minutes: float
    seconds: float
    closed: str
    behind_s: float
    wer: float
    wer_whole: float
    words: int
    matched: int
    off_ms: tuple[float, ...]
    samples: tuple[Sample, ...]
    lags_s: tuple[float, ...]

    @property
    def near_share(self) -> float:
        return sum(one <= NEAR_MS for one in self.off_ms) / max(1, len(self.off_ms))

    @property
    def trend(self) -> Trend | None:
        half = last_half(self.samples)
        return trend(half) if len(half) > 1 else None


async def storm(
    server: Server, sounds: Sequence[Sound], alone: dict[str, str], seeds: Iterable[int], *, at_once: int
) -> tuple[list[Ending], list[Heard]]:
    """A heckler for each seed; the well-behaved go on until the last of them has gone."""
    numbers, over = iter(seeds), asyncio.Event()
    endings: list[Ending] = []
    heard: list[Heard] = []
    todo = cycle([one for one in sounds if one.name in alone])

    async def heckler() -> None:
        for number in numbers:
            endings.append(await heckled(server, sounds[number % len(sounds)], seed=number))

    async def speaker() -> None:
        while not over.is_set():
            heard.append(await stream(server, next(todo), ASKED))

    speaking = [asyncio.create_task(speaker()) for _ in range(WELL_BEHAVED)]
    await asyncio.gather(*(heckler() for _ in range(at_once)))
    over.set()
    await asyncio.gather(*speaking)
    return endings, heard


def weathered(server: Server, sounds: Sequence[Sound], asked: argparse.Namespace) -> Storm:
    alone = {one.name: asyncio.run(stream(server, one, ASKED, paced=False)).text for one in sounds[:WELL_BEHAVED]}
    asyncio.run(storm(server, sounds, alone, range(asked.sessions, asked.sessions + WARM_UP), at_once=asked.at_once))
    time.sleep(asked.rest_s)
    before, gauges_before = sample(server.pid), gauges(server)
    endings, heard = asyncio.run(storm(server, sounds, alone, range(asked.sessions), at_once=asked.at_once))
    time.sleep(asked.rest_s)
    after, gauges_after = sample(server.pid), gauges(server)
    unlike = tuple(
        f"{one.sound.name}: {one.code} {one.text!r}"
        for one in heard
        if one.code != 1000 or one.text != alone[one.sound.name]
    )
    return Storm(tuple(endings), len(heard), unlike, before, after, gauges_before, gauges_after)


def show_storm(one: Storm) -> None:
    counts = Counter((ending.kind, ending.route, ending.outcome[:SHOWN]) for ending in one.endings)
    rows: list[list[report.Cell]] = [
        [kind, route, done, count] for (kind, route, done), count in sorted(counts.items())
    ]
    report.show("What was done about hecklers", ["", "protocol", "outcome", "sessions"], rows)
    columns = ["", "resident MiB", "of it anonymous", "file descriptors", "threads"]
    looks = (("before", one.before), ("after", one.after))
    cells = [(when, s.resident_mib, s.anonymous_mib, s.descriptors, s.threads) for when, s in looks]
    report.show("The process", columns, cells)
    changed = {name: value for name, value in one.gauges_after.items() if value != one.gauges_before.get(name, 0)}
    table: list[list[report.Cell]] = [[name, one.gauges_before.get(name, 0), now] for name, now in changed.items()]
    report.show("Gauges that are not what they were", ["", "before", "after"], table)
    unlike: list[list[report.Cell]] = [["streams", one.behaved], ["other than alone", len(one.unlike)]]
    report.show("The well-behaved", ["", "count"], [*unlike, *([text[:120], None] for text in one.unlike)])


async def hour(server: Server, file: Utterance, reference: Sequence[Timed], whole_text: str) -> Hour:
    samples: list[Sample] = []
    lags_s: list[float] = []
    sent = sound(file.name, waveform(file), chunk_s=HOUR_CHUNK_S)
    watchers = (watched(server.pid, samples, every_s=EVERY_S), watch_lag(server, lags_s))
    watching = asyncio.gather(*watchers)
    started = time.perf_counter()
    heard = await stream(server, sent, ASKED, paced=False)
    seconds = time.perf_counter() - started
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    off_ms = tuple(off(reference, heard.words))
    return Hour(
        minutes=heard.sound.duration_s / 60,
        seconds=seconds,
        closed=f"{heard.code} {heard.reason}".strip(),
        behind_s=behind_s(heard),
        wer=wer([score(file, heard.text)]),
        wer_whole=wer([score(file, whole_text)]),
        words=len(reference),
        matched=len(off_ms),
        off_ms=off_ms,
        samples=tuple(samples),
        lags_s=tuple(lags_s),
    )


async def watch_lag(server: Server, into: list[float]) -> None:
    """Until it is cancelled."""
    while True:
        await asyncio.sleep(EVERY_S)
        into.append((await asyncio.to_thread(gauges, server))[LAG])


def off(reference: Sequence[Timed], heard: Sequence[Timed]) -> list[float]:
    """By how many milliseconds the starts of the words that both have are apart."""
    same = matches(reference, heard)
    return [1e3 * abs(reference[i].start_s - heard[j].start_s) for i, j in same.items()]


def behind_s(heard: Heard) -> float:
    """The most audio that had been sent when a final came, and was after it."""
    sent = 0
    most = 0.0
    for one in heard.finals:
        while sent < len(heard.sent_s) and heard.sent_s[sent] <= one.at_s:
            sent += 1
        most = max(most, min(sent * heard.sound.chunk_s, heard.sound.duration_s) - one.end_s)
    return most


async def whole(server: Server, file: Utterance) -> tuple[str, list[Timed]]:
    """Text and words of the file in one request."""
    form = {
        "model": ANY_MODEL,
        "language": "en",
        "response_format": "verbose_json",
        "timestamp_granularities[]": "word",
    }
    async with server.client() as http:
        reply = await http.post(ROUTE, data=form, files={"file": (file.name, file.path.read_bytes())})
    body = reply.raise_for_status().json()
    return body["text"], timed((word["word"], word["start"], word["end"]) for word in body["words"])


def show_hour(one: Hour) -> None:
    every = max(1, len(one.samples) // 12)
    rows = [
        (f"at {s.at_s:.0f} s", s.resident_mib, s.anonymous_mib, s.descriptors, s.threads) for s in one.samples[::every]
    ]
    columns = ["", "resident MiB", "of it anonymous", "file descriptors", "threads"]
    report.show(f"A stream of {one.minutes:.0f} minutes in {one.seconds:.0f} s, closed {one.closed}", columns, rows)
    if one.trend:
        cells: list[report.Cell] = ["last half", one.trend.mib_per_minute, one.trend.spread_mib]
        report.show("Resident memory", ["", "MiB a minute", "most less least, MiB"], [cells])
    report.show("Against the file", ["", "WER %"], [["streamed", one.wer], ["whole", one.wer_whole]])
    columns = ["", "words", "matched", "p50 ms", "p95 ms", "p99 ms", f"within {NEAR_MS} ms %"]
    times = [quantile(one.off_ms, share) for share in (0.5, 0.95, 0.99)] if one.off_ms else [None] * 3
    report.show("Starts of words", columns, [["", one.words, one.matched, *times, 100 * one.near_share]])
    late = [max(one.lags_s, default=None), one.behind_s]
    report.show("Behind, s", ["", "finals by arrival, worst seen", "sent and not final, most"], [["", *late]])


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument("--sessions", type=int, help="that misbehave; default: 200, without --data 20; 0 for none")
    parser.add_argument("--at-once", type=int, default=8, help="of these at the same time")
    parser.add_argument("--minutes", type=float, help="of the long stream; default: 60, without --data 1; 0 for none")
    parser.add_argument("--rest-s", type=float, default=REST_S)
    asked = parser.parse_args()
    asked.sessions = int(options.size(asked, asked.sessions, full=200, trial=20))
    asked.minutes = options.size(asked, asked.minutes, full=60.0, trial=1.0)
    return asked


def settings(asked: argparse.Namespace) -> dict[str, str]:
    """Room for all at once: here it is not asked what the machine holds. And for a file of the hour."""
    streams = {"WREN_MAX_STREAMS": str(2 * (asked.at_once + WELL_BEHAVED))}
    return {**streams, "WREN_MAX_DURATION_S": str(MOST_S), "WREN_MAX_UPLOAD_MIB": "1000"}


def main() -> None:
    asked = parsed()
    recordings = [u for u in options.utterances(asked) if u.lang == "en"]
    short, long = ([u for u in recordings if (u.set_name == LONG) == wanted] for wanted in (False, True))
    model = variant(asked.store, asked.model).name
    found: dict[str, object] = {}
    with (
        TemporaryDirectory() as folder,
        wren(asked.store, model, threads=asked.threads, settings=settings(asked)) as server,
    ):
        if asked.sessions:
            one = weathered(server, [sound(u.name, waveform(u), chunk_s=CHUNK_S) for u in short], asked)
            show_storm(one)
            found["storm"] = {**asdict(one), "unexplained": sum(ending.unexplained for ending in one.endings)}
        if asked.minutes:
            file = joined(long or short, 60 * asked.minutes, Path(folder))
            text, words = asyncio.run(whole(server, file))
            long_one = asyncio.run(hour(server, file, words, text))
            show_hour(long_one)
            found["hour"] = {**asdict(long_one), "off_ms": None, "near_share": long_one.near_share}
    report.record("stream_soak", recordings, model=model, threads=asked.threads, **found)


if __name__ == "__main__":
    main()
