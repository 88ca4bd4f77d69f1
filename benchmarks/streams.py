"""How far behind the speaker are live streams, and what does it cost in words that they are not sent whole?

python -m benchmarks.streams --data DIR [--streams 1 4 8 12 16 --seconds S --endpointing MS --peer URL]

A real server process; linear16 at 16 kHz in chunks of 50 ms over the Deepgram protocol, at real-time pace. First every
recording once, a few at a time, as it is: its finals against the text of the same file sent whole. Then so many streams
at once, every second recording followed by a pause, the others broken off; the next stream begins when one has ended.

A first interim is late by the beginning of the first word, as the whole file has it. An interim is late by the end of
what it covers, a final by the moment at which the pause was long enough, and by the end of its last word: all as they
had been sent. `--peer` is another server that speaks the protocol, started by hand; it takes the same turns.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from benchmarks import options, report
from benchmarks.clients import ROUTE, content
from benchmarks.lags import Summary, summary
from benchmarks.live import Heard, Sound, gaps, sound, stream
from benchmarks.local import variant
from benchmarks.pipeline import waveform
from benchmarks.servers import ANY_MODEL, Server, wren
from benchmarks.speech import Utterance, groups, score, wer
from service.audio.types import SAMPLE_RATE

SETS = ("libri_eval", "ljspeech", "misc_read", "speeches")
CHUNK_S = 0.05

PAUSE_S = 1.5
"""Where the lag is measured: the last words end with a pause, as in life."""

HEAD_S = 20
"""Of a recording that is longer, where the lag is measured: so many streams at once end at about the same time."""

SCORED_AT_ONCE = 4
"""Streams at once where the words are compared: few enough that nothing is dropped for want of time."""

MOST_OFFSET_S = 1.0
"""Streams that begin at once would all send at once: each waits up to so long at first."""

Words = dict[str, float]
"""Where the first word of a recording begins, by its name."""

Finals = dict[str, dict[str, str]]
"""By server the text of each recording, by its name."""


async def whole(server: Server, utterances: Sequence[Utterance]) -> tuple[dict[str, str], Words]:
    """Text and first word of each file sent whole."""
    texts: dict[str, str] = {}
    first_words: Words = {}
    form = {
        "model": ANY_MODEL,
        "language": "en",
        "response_format": "verbose_json",
        "timestamp_granularities[]": "word",
    }
    async with server.client() as http:
        for u in report.progress(utterances, "files sent whole"):
            reply = await http.post(ROUTE, data=form, files={"file": (u.path.name, content(u.path))})
            body = reply.raise_for_status().json()
            texts[u.name] = body["text"]
            if body["words"]:
                first_words[u.name] = body["words"][0]["start"]
    return texts, first_words


def sounds(utterances: Sequence[Utterance]) -> list[Sound]:
    """As they are; the longest first, so that none is left to the end."""
    in_turn = sorted(utterances, key=lambda u: u.duration_s or 0.0, reverse=True)
    return [sound(u.name, waveform(u), chunk_s=CHUNK_S) for u in in_turn]


def spoken(utterances: Sequence[Utterance]) -> list[Sound]:
    """Their beginnings, every second one followed by a pause; the others are broken off in the midst of speech."""
    pauses = [PAUSE_S * (number % 2 == 0) for number in range(len(utterances))]
    heads = [waveform(u)[: int(HEAD_S * SAMPLE_RATE)] for u in utterances]
    rows = zip(utterances, heads, pauses, strict=True)
    return [sound(u.name, head, chunk_s=CHUNK_S, pause_s=pause_s) for u, head, pause_s in rows]


async def at_once(
    server: Server, todo: Iterator[Sound], asked: Mapping[str, str], *, streams: int, paced: bool = True
) -> list[Heard]:
    """So many streams take the next sound until there is none; what is refused counts, and is not sent again."""
    found: list[Heard] = []
    offsets = random.Random(streams)

    async def speaker() -> None:
        await asyncio.sleep(offsets.uniform(0, MOST_OFFSET_S))
        for one in todo:
            heard = await stream(server, one, asked, paced=paced)
            found.append(heard)
            if heard.code != 1000:
                await asyncio.sleep(one.duration_s)

    await asyncio.gather(*(speaker() for _ in range(streams)))
    return found


def for_a_while(all_: Sequence[Sound], least_s: float, *, seed: int) -> Iterator[Sound]:
    """In an order of its own, and again, until so many seconds have passed."""
    order = list(all_)
    random.Random(seed).shuffle(order)
    end = time.monotonic() + least_s
    while True:
        for one in order:
            if time.monotonic() >= end:
                return
            yield one


def scores(utterances: Sequence[Utterance], texts: Mapping[str, str]) -> dict[str, float]:
    """WER in percent of each set, and of all."""
    rows = groups([u for u in utterances if u.name in texts])
    return {name: wer([score(u, texts[u.name]) for u in group]) for name, group in rows.items()}


def show_words(found: Mapping[str, Mapping[str, float]], heard: Mapping[str, Sequence[Heard]]) -> dict[str, float]:
    """The WER of each way, and by how many seconds finals did not lie end to end at the worst place."""
    names = list(next(iter(found.values())))
    rows: list[list[report.Cell]] = [[way, *(row[name] for name in names)] for way, row in found.items()]
    report.show("WER, %", ["", *names], rows)
    off = {
        way: max((gaps(one.finals, one.sound.duration_s) for one in all_), default=0.0) for way, all_ in heard.items()
    }
    report.show("Finals", ["", "worst gap or overlap, s"], [[way, worst] for way, worst in off.items()])
    return off


def show_lags(title: str, found: Sequence[Summary]) -> None:
    columns = ["streams", "ended", "refused", "first p50", "p95", "interim p50", "p95", "gap p50", "p95", "over 1 s %"]
    columns += ["final p50", "p95", "by word p50", "p95", "close p50", "p95", "client p99"]
    rows: list[list[report.Cell]] = []
    for one in found:
        refused = ", ".join(f"{why}: {count}" for why, count in one.refused.items())
        times = (one.first_p50, one.first_p95, one.interim_p50, one.interim_p95, one.gap_p50, one.gap_p95)
        ends = (one.final_p50, one.final_p95, one.word_p50, one.word_p95, one.close_p50, one.close_p95, one.late_p99)
        cells = [*map(_whole, times), 100 * one.stale_share, *map(_whole, ends)]
        rows.append([str(one.streams), one.heard, refused, *cells])
    report.show(f"{title}: lag, ms", columns, rows)


def _whole(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds)


def lags(server: Server, recordings: Sequence[Utterance], first: Words, asked: argparse.Namespace) -> list[Summary]:
    sent = spoken(recordings)
    told = {"interim_results": "true", "vad_events": "true", **_pause(asked)}
    found: list[Summary] = []
    for count in report.progress(asked.streams, "streams at once"):
        todo = for_a_while(sent, asked.seconds, seed=count)
        found.append(summary(count, asyncio.run(at_once(server, todo, told, streams=count)), first))
    return found


def streamed(server: Server, recordings: Sequence[Utterance], asked: argparse.Namespace) -> list[Heard]:
    told = {"interim_results": "true", **_pause(asked)}
    todo = iter(sounds(recordings))
    return asyncio.run(at_once(server, todo, told, streams=asked.scored_at_once, paced=not asked.fast))


def _pause(asked: argparse.Namespace) -> dict[str, str]:
    return {} if asked.endpointing is None else {"endpointing": str(asked.endpointing)}


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument("--streams", nargs="*", type=int, help="at once; default: 1 4 8 12 16, without --data 1 2")
    parser.add_argument("--seconds", type=float, help="for each number of streams; default: 60, without --data 6")
    parser.add_argument("--endpointing", type=int, help="milliseconds of silence; left out, the server's own")
    parser.add_argument("--scored-at-once", type=int, default=SCORED_AT_ONCE, help="streams while words are compared")
    parser.add_argument("--fast", action="store_true", help="compare words without waiting: finals are the same")
    parser.add_argument("--max-streams", type=int, help="WREN_MAX_STREAMS; left out, what was measured")
    parser.add_argument("--peer", help="URL of another server that speaks the Deepgram protocol")
    asked = parser.parse_args()
    if asked.streams is None:
        asked.streams = [1, 4, 8, 12, 16] if asked.data else [1, 2]
    asked.seconds = options.size(asked, asked.seconds, full=60.0, trial=6.0)
    return asked


def main() -> None:
    asked = parsed()
    recordings = [u for u in options.utterances(asked) if u.lang == "en"]
    model = variant(asked.store, asked.model).name
    settings = {} if asked.max_streams is None else {"WREN_MAX_STREAMS": str(asked.max_streams)}
    with wren(asked.store, model, threads=asked.threads, settings=settings) as server:
        servers = [server, *([Server("peer", asked.peer, 0)] if asked.peer else [])]
        texts, first = asyncio.run(whole(server, recordings))
        heard = {one.name: streamed(one, recordings, asked) for one in servers}
        found = {one.name: lags(one, recordings, first, asked) for one in servers}
    ways = {f"{server.name}, whole": texts}
    ways |= {f"{name}, streamed": {one.sound.name: one.text for one in all_} for name, all_ in heard.items()}
    words = {way: scores(recordings, said) for way, said in ways.items()}
    worst = show_words(words, heard)
    for name, all_ in found.items():
        show_lags(name, all_)
    report.record(
        "streams",
        recordings,
        model=model,
        threads=asked.threads,
        seconds=asked.seconds,
        endpointing_ms=asked.endpointing,
        wer=words,
        worst_gap_s=worst,
        closes={name: [asdict(summary(0, all_, first))] for name, all_ in heard.items()},
        lag_ms={name: [asdict(one) for one in all_] for name, all_ in found.items()},
    )


if __name__ == "__main__":
    main()
