"""Does a rolling restart of two servers behind nginx lose a request, and what do live streams notice of it?

python -m benchmarks.rolling --data DIR [--rounds 5 --clients 4 --streams 4]

Clients post recordings without a pause, and others stream at real-time pace, through nginx with `docker/nginx.conf`,
while each server in turn gets SIGTERM and is started again. A stream that is closed with 1012 behind its last words is
opened anew.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from websockets.exceptions import WebSocketException

from benchmarks import options, report
from benchmarks.clients import SETS, Answer, ask
from benchmarks.latency import quantile
from benchmarks.live import Heard, Sound, sound, stream
from benchmarks.local import variant
from benchmarks.overtake import joined
from benchmarks.pipeline import waveform
from benchmarks.servers import Server
from benchmarks.speech import Utterance
from tests.live import LiveServer, free_port, wren_serve
from tests.proxy import NGINX, NO_NGINX, nginx

CHUNK_S = 0.05

STREAM_S = 20.0
"""Of audio: streams shall be open when a server stops."""

CALM_S = 2.0
"""Between two restarts."""

STOP_S = 60.0

LATER_S = 0.5
"""When a stream that was refused for now is tried again."""

RESTARTING, LATER = 1012, 429

ASKED = {"interim_results": "true"}


class Instance:
    """One of the servers: always on the same port, each process with a log of its own."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.port = free_port()
        self._folder, self._settings = folder, settings
        self._stack = ExitStack()
        self._started = 0

    def start(self) -> LiveServer:
        self._started += 1
        log = self._folder / f"log{self._started}"
        self._now = self._stack.enter_context(wren_serve(log, self._settings, port=self.port))
        return self._now

    def stop(self) -> int:
        """The status that it ended with after SIGTERM."""
        self._now.process.terminate()
        return self._now.process.wait(timeout=STOP_S)

    def close(self) -> None:
        self._stack.close()


@dataclass(slots=True)
class Rolled:
    """What came of it.

    Attributes:
        answers, streams: of all clients, in the order in which they ended.
        broken: streams that no server ended, by what was seen instead.
        stops_s, starts_s: from SIGTERM to the end of the process; from its start until it is ready.
        statuses: with which the processes ended.
    """

    answers: list[Answer] = field(default_factory=list)
    streams: list[Heard] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    stops_s: list[float] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def failures(self) -> Counter[str]:
        """Requests and streams that a restart lost. A 429 is none: a busy server says it, restart or not."""
        posts = Counter(one.status for one in self.answers if one.status not in ("200", str(LATER)))
        return posts + self.broken + Counter(why for one in self.streams if (why := wrong(one)))

    @property
    def reconnects(self) -> list[Heard]:
        return [one for one in self.streams if one.code == RESTARTING]

    @property
    def later(self) -> int:
        posts = sum(one.status == str(LATER) for one in self.answers)
        return posts + sum(one.status == LATER for one in self.streams)


def wrong(one: Heard) -> str:
    """What is wrong with the way that a stream ended; nothing if it was heard to its end or sent elsewhere in order."""
    if one.status != 101:
        return "" if one.status == LATER else f"stream {one.status}"
    if one.code not in (1000, RESTARTING):
        return f"stream closed {one.code}"
    if not one.told or one.told[-1].kind != "Metadata":
        return f"stream closed {one.code} before its end"
    return ""


def unheard_s(one: Heard) -> float:
    """Audio that was sent and that no final covers: the client has to send it again."""
    return len(one.sent_s) * one.sound.chunk_s - max((final.end_s for final in one.finals), default=0.0)


async def rolled(
    server: Server,
    instances: Sequence[Instance],
    clips: Sequence[Utterance],
    spoken: Sound,
    *,
    rounds: int,
    clients: int,
    streams: int,
) -> Rolled:
    """Restart each instance so many times under the load of clients and streams."""
    found, over = Rolled(), asyncio.Event()

    async def client(first: int) -> None:
        async with server.client() as http:
            for clip in islice(cycle(clips), first, None):
                if over.is_set():
                    return
                answer = await ask(http, clip)
                found.answers.append(answer)
                await asyncio.sleep(answer.retry_after_s)

    async def speaker() -> None:
        while not over.is_set():
            try:
                heard = await stream(server, spoken, ASKED)
            except (OSError, WebSocketException) as error:
                found.broken[f"stream {type(error).__name__}"] += 1
                continue
            found.streams.append(heard)
            await asyncio.sleep(LATER_S if heard.status == LATER else 0)

    load = [*map(client, range(clients)), *(speaker() for _ in range(streams))]
    working = asyncio.gather(*load)
    try:
        for instance in [*instances] * rounds:
            await asyncio.sleep(CALM_S)
            await asyncio.to_thread(_restart, instance, found)
        await asyncio.sleep(CALM_S)
    finally:
        over.set()
        await working
    return found


def _restart(instance: Instance, found: Rolled) -> None:
    began = time.perf_counter()
    found.statuses.append(instance.stop())
    ended = time.perf_counter()
    instance.start()
    found.stops_s.append(ended - began)
    found.starts_s.append(time.perf_counter() - ended)


@contextmanager
def behind_nginx(folder: Path, settings: Mapping[str, str]) -> Iterator[tuple[Server, list[Instance]]]:
    """Two servers and the proxy before them, as one address."""
    instances = []
    with ExitStack() as stack:
        for name in ("one", "two"):
            (folder / name).mkdir()
            instance = Instance(folder / name, settings)
            stack.callback(instance.close)
            live = instance.start()
            instances.append(instance)
        url = stack.enter_context(nginx(folder, (instances[0].port, instances[1].port)))
        yield Server("nginx", url, live.pid, live.key), instances


def show(found: Rolled) -> None:
    seconds = [one.seconds for one in found.answers if one.status == "200"]
    p50, p99 = (1e3 * quantile(seconds, share) for share in (0.5, 0.99))
    columns = ["", "count", "failed", "told to come later", "p50 ms", "p99 ms", "most ms"]
    failed = sum(one.status not in ("200", str(LATER)) for one in found.answers)
    later = sum(one.status == str(LATER) for one in found.answers)
    answered: list[report.Cell] = ["requests", len(found.answers), failed, later, p50, p99, 1e3 * max(seconds)]
    lost = found.failures.total() - failed
    streamed: list[report.Cell] = ["streams", len(found.streams) + found.broken.total(), lost, found.later - later]
    report.show("What clients noticed", columns, [answered, [*streamed, None, None, None]])
    again = [unheard_s(one) for one in found.reconnects]
    moved: list[report.Cell] = ["1012", len(again), max(again, default=None)]
    report.show("Streams sent to another server", ["", "count", "most to send again, s"], [moved])
    times: list[list[report.Cell]] = [["stop", max(found.stops_s)], ["start", max(found.starts_s)]]
    report.show(f"{len(found.stops_s)} restarts, statuses {sorted(set(found.statuses))}", ["", "most s"], times)


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument("--rounds", type=int, help="both servers restart in each; default: 5, without --data 2")
    parser.add_argument("--clients", type=int, default=4, help="that post recordings")
    parser.add_argument("--streams", type=int, default=4, help="at a time")
    asked = parser.parse_args()
    asked.rounds = int(options.size(asked, asked.rounds, full=5, trial=2))
    return asked


def main() -> None:
    asked = parsed()
    if not NGINX:
        raise SystemExit(NO_NGINX)
    clips = [u for u in options.utterances(asked) if u.lang == "en"]
    model = variant(asked.store, asked.model).name
    named = {"WREN_STORE": str(asked.store.absolute()), "WREN_MODEL": model, "WREN_THREADS": str(asked.threads)}
    with TemporaryDirectory() as name:
        folder = Path(name)
        spoken = sound("joined", waveform(joined(clips, STREAM_S, folder)), chunk_s=CHUNK_S)
        settings = {**named, "WREN_MAX_STREAMS": str(asked.streams)}
        with behind_nginx(folder, settings) as (server, instances):
            sizes = {"rounds": asked.rounds, "clients": asked.clients, "streams": asked.streams}
            found = asyncio.run(rolled(server, instances, clips, spoken, **sizes))
    show(found)
    report.record(
        "rolling",
        clips,
        model=model,
        asked=sizes,
        requests=len(found.answers),
        failures=dict(found.failures),
        later=found.later,
        streams=len(found.streams) + found.broken.total(),
        reconnects=len(found.reconnects),
        unheard_s=[unheard_s(one) for one in found.reconnects],
        stops_s=found.stops_s,
        starts_s=found.starts_s,
        statuses=found.statuses,
    )


if __name__ == "__main__":
    main()
