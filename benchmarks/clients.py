"""Clients that load a server: utterances in, answers with their times out, and what these come to.

A closed loop: each client sends its next recording when it has its last answer. A client that is told to come back
later does so, with its next recording. Requests are those of the OpenAI protocol, so any server that speaks it will do.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import httpx

from benchmarks.latency import quantile
from benchmarks.servers import ANY_MODEL, Server
from benchmarks.speech import Utterance, score, wer

SETS = ("libri_eval", "ljspeech", "misc_read", "asterisk_en")
"""What servers are loaded with: English, 1 to 12 s."""

ROUTE = "/v1/audio/transcriptions"

VARIANT = "x-wren-variant"
"""The header that says which variant served."""

WARM_UP = 4
"""Clients that ask once each before anything is timed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is the one of HTTP, or the name of what went wrong with the connection; `variant` is what served."""

    utterance: Utterance
    status: str
    seconds: float
    text: str = ""
    retry_after_s: float = 0.0
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """`wall_s` is the time until the last answer."""

    answers: tuple[Answer, ...]
    wall_s: float

    @property
    def statuses(self) -> Counter[str]:
        return Counter(one.status for one in self.answers)

    @property
    def answered(self) -> list[Answer]:
        return [one for one in self.answers if one.status == "200"]


@dataclass(frozen=True, slots=True)
class Summary:
    """`rtfx` is seconds of audio answered a second."""

    answered: int
    failures: dict[str, int]
    rtfx: float
    requests_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    wer: float


Ask = Callable[[httpx.AsyncClient, Utterance], Awaitable[Answer]]


async def ask(http: httpx.AsyncClient, u: Utterance, *, model: str = ANY_MODEL) -> Answer:
    started = time.perf_counter()
    form, files = {"model": model, "language": u.lang}, {"file": (u.path.name, content(u.path))}
    try:
        reply = await http.post(ROUTE, data=form, files=files)
    except httpx.HTTPError as error:
        return Answer(u, type(error).__name__, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    if reply.status_code != 200:
        later_s = float(reply.headers.get("retry-after", 1)) if reply.status_code == 429 else 0.0
        return Answer(u, str(reply.status_code), seconds, retry_after_s=later_s)
    return Answer(u, "200", seconds, reply.json()["text"], variant=reply.headers.get(VARIANT, ""))


@cache
def content(path: Path) -> bytes:
    """Read once: the disk is not in the figures."""
    return path.read_bytes()


async def closed_loop(server: Server, todo: Iterator[Utterance], *, clients: int, ask: Ask = ask) -> Run:
    """So many clients take their next recordings from `todo` until it is empty."""
    answers: list[Answer] = []
    last = 0.0

    async def client(http: httpx.AsyncClient) -> None:
        nonlocal last
        for u in todo:
            answer = await ask(http, u)
            last = time.perf_counter()
            answers.append(answer)
            await asyncio.sleep(answer.retry_after_s)

    async with connected(server, clients) as each:
        started = time.perf_counter()
        await asyncio.gather(*map(client, each))
    return Run(tuple(answers), last - started)


async def all_at_once(server: Server, utterances: Sequence[Utterance]) -> Run:
    """A client each, that asks once."""
    async with connected(server, len(utterances)) as each:
        started = time.perf_counter()
        answers = await asyncio.gather(*map(ask, each, utterances))
        return Run(tuple(answers), time.perf_counter() - started)


@asynccontextmanager
async def connected(server: Server, clients: int) -> AsyncIterator[list[httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(server.client()) for _ in range(clients)]


async def warm_up(server: Server, utterances: Sequence[Utterance], *, clients: int = WARM_UP) -> Run:
    return await all_at_once(server, list(islice(cycle(utterances), clients)))


def rounds(utterances: Sequence[Utterance], *, least_s: float) -> Iterator[Utterance]:
    """All of them, and all of them again until so many seconds have passed: every round weighs each the same."""
    end = time.monotonic() + least_s
    while True:
        yield from utterances
        if time.monotonic() >= end:
            return


def summary(run: Run) -> Summary:
    """Times and word errors are of what was answered; the rest is counted.

    Raises:
        RuntimeError: nothing was answered.
    """
    answered = run.answered
    failures = dict(run.statuses - Counter({"200": len(answered)}))
    if not answered:
        raise RuntimeError(f"No request was answered: {failures}. Try the server with a single request.")
    p50, p95, p99 = (1e3 * quantile([one.seconds for one in answered], share) for share in (0.5, 0.95, 0.99))
    audio_s = sum(one.utterance.duration_s for one in answered)
    return Summary(
        len(answered), failures, audio_s / run.wall_s, len(answered) / run.wall_s, p50, p95, p99, word_errors(answered)
    )


def word_errors(answered: Sequence[Answer]) -> float:
    """WER in percent. Most texts come back many times: each is compared once."""
    counts = Counter((one.utterance, one.text) for one in answered)
    return wer(one for (u, text), count in counts.items() for one in [score(u, text)] * count)


def wavering(answered: Sequence[Answer]) -> list[str]:
    """The recordings whose text was not the same each time."""
    texts: dict[Utterance, set[str]] = {}
    for one in answered:
        texts.setdefault(one.utterance, set()).add(one.text)
    return [u.name for u, found in texts.items() if len(found) > 1]


def median(summaries: Sequence[Summary]) -> Summary:
    """Of several runs of the same load: the median of each figure, the failures of all."""
    failures = sum((Counter(one.failures) for one in summaries), Counter[str]())
    names = ("rtfx", "requests_per_s", "p50_ms", "p95_ms", "p99_ms", "wer")
    middle = {name: statistics.median(getattr(one, name) for one in summaries) for name in names}
    return replace(summaries[0], answered=sum(one.answered for one in summaries), failures=dict(failures), **middle)
