import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from service.audio.ear import Grown, Overheard
from service.audio.types import SAMPLE_RATE, Span
from service.engine.fake import model_info
from service.engine.sketching import AGAIN, EVERY, FIRST, LATE_S, SHARE, Drafted, Known, Sketches
from service.engine.streaming import Interim, StreamEvent
from service.engine.telling import Telling
from service.engine.types import Request
from service.errors import RecognitionFailed
from service.recognition.agreement import DRAFTS, HELD
from service.recognition.recognizer import Draft
from service.recognition.types import Language
from tests.engine.hosting import eventually
from tests.engine.sessions import MANIFEST, segment_of, token
from tests.engine.watching import Watcher

pytestmark = pytest.mark.anyio

OTHER = model_info("other", "fp32").manifest
CLOCK = 2 * SAMPLE_RATE


def draft(words: Sequence[int], *, repeats: bool = False, said: bool = True) -> Draft:
    """Of these numbered words."""
    tokens = tuple(token(number) for number in words)
    segments = (segment_of(b"".join(one.piece for one in tokens).decode(), 1.0),) if said else ()
    return Draft(tokens, segments, (Language("en", 1.0),), repeats=repeats)


GROWN = tuple(draft(range(HELD + count)) for count in (2, 4, 6, 8))
"""What a segment says as it grows: settled are, with the third, what the first has but for the words held back."""


class Studio:
    """Sketches that are drafted by a script, somebody who waits for them, and what came of it.

    Attributes:
        answers: to the next drafts; None is one that is not done in time.
        gate: awaited before each answer.
        known, left_s: what each draft was given.
        cancelled: drafts that were let go.
        asked: where the segment is to be told next, each time.
    """

    def __init__(self, *answers: Drafted | Exception | None) -> None:
        self.answers = list(answers)
        self.gate: asyncio.Event | None = None
        self.takes_s = 0.0
        self.known: list[Known] = []
        self.left_s: list[float] = []
        self.cancelled = 0
        self.asked: list[int] = []
        self.told: list[StreamEvent] = []
        self.watcher = Watcher()
        self.telling = Telling(self.watcher, hold=lambda: None, resume=lambda: None)
        self.sketches = Sketches(self, self.telling, ask=self.asked.append)

    async def draft(self, request: Request, known: Known, *, left_s: float) -> Drafted | None:
        self.known.append(known)
        self.left_s.append(left_s)
        answer = self.answers.pop(0)
        try:
            await asyncio.sleep(self.takes_s)
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    def make(self, *, clock: int = CLOCK, ago_s: float = 0.0, start: int = 0) -> None:
        span = Span(start, clock)
        heard = Overheard(Grown(span), clock, time.monotonic() - ago_s, np.zeros(clock - start, np.float32))
        self.sketches.make(heard, Request(b""), span)

    async def made(self, *, clock: int = CLOCK, ago_s: float = 0.0, start: int = 0) -> None:
        """One, to its end."""
        before = len(self.asked)
        self.make(clock=clock, ago_s=ago_s, start=start)
        await eventually(lambda: len(self.asked) > before)
        await asyncio.sleep(0)

    async def made_all(self) -> None:
        while self.answers:
            await self.made()

    @property
    def interims(self) -> list[Interim]:
        return [event for event in self.told if isinstance(event, Interim)]


@asynccontextmanager
async def studio(*answers: Drafted | Draft | Exception | None) -> AsyncIterator[Studio]:
    """With a listener; at the end nothing may be left of either."""
    before = asyncio.all_tasks()
    made = Studio(*(Drafted(one, MANIFEST) if isinstance(one, Draft) else one for one in answers))

    async def listen() -> None:
        async for event in made.telling.events():
            made.told.append(event)

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        made.sketches.end()
        listening.cancel()
        await eventually(lambda: asyncio.all_tasks() == before)


async def test_a_sketch_is_told_where_it_lies_in_the_stream() -> None:
    async with studio(draft(range(3))) as one:
        await one.made(clock=3 * SAMPLE_RATE, start=SAMPLE_RATE)
        await eventually(lambda: len(one.told) == 1)
        (interim,) = one.interims
        assert (interim.start_s, interim.end_s, interim.text, interim.manifest) == (1.0, 3.0, "w0 w1 w2", MANIFEST)
        assert [(segment.start_s, segment.end_s) for segment in interim.segments] == [(1.0, 2.0)]
        assert interim.settled == ""


async def test_the_next_one_lets_go_the_one_before() -> None:
    async with studio(draft(range(3)), draft(range(4))) as one:
        one.gate = asyncio.Event()
        one.make()
        await eventually(lambda: len(one.known) == 1)
        one.make(clock=CLOCK + EVERY)
        await eventually(lambda: len(one.known) == 2)
        one.gate.set()
        await eventually(lambda: len(one.told) == 1)
        assert one.interims[0].text == "w0 w1 w2 w3"
        assert one.cancelled == 1
        assert one.asked == [CLOCK + EVERY + EVERY]


@pytest.mark.parametrize("ending", ["end", "stop", "begin"])
async def test_what_is_being_made_is_let_go(ending: str) -> None:
    async with studio(draft(range(3))) as one:
        one.gate = asyncio.Event()
        one.make()
        await eventually(lambda: len(one.known) == 1)
        if ending == "begin":
            one.sketches.begin(7)
        else:
            getattr(one.sketches, ending)()
        await eventually(lambda: one.cancelled == 1)
        one.gate.set()
        await asyncio.sleep(0.01)
        assert one.told == []
        assert one.asked == ([7 + FIRST] if ending == "begin" else [])
        assert one.watcher.sketches == []


async def test_what_is_late_is_not_begun() -> None:
    async with studio() as one:
        await one.made(ago_s=LATE_S + 0.01)
        assert one.known == []
        assert one.watcher.sketches == [None]
        assert one.told == []


async def test_a_draft_has_what_is_left_of_the_time() -> None:
    async with studio(draft(range(3)), draft(range(3))) as one:
        await one.made()
        await one.made(ago_s=0.3)
        assert one.left_s == [pytest.approx(LATE_S, abs=0.1), pytest.approx(LATE_S - 0.3, abs=0.1)]
        assert one.left_s[1] <= LATE_S - 0.3


async def test_what_is_not_done_in_time_is_counted_and_another_made() -> None:
    async with studio(None, draft(range(3))) as one:
        await one.made_all()
        await eventually(lambda: len(one.told) == 1)
        assert [lag_s is None for lag_s in one.watcher.sketches] == [True, False]


async def test_what_drafts_agree_on_is_settled_and_known_to_the_next() -> None:
    async with studio(*GROWN) as one:
        await one.made_all()
        await eventually(lambda: len(one.told) == len(GROWN))
        assert DRAFTS == 3
        assert [len(known.tokens) for known in one.known] == [0, 0, 0, 2]
        assert one.known[-1] == Known(MANIFEST.model, GROWN[0].tokens[:2])
        assert [interim.settled for interim in one.interims] == ["", "", "w0 w1", "w0 w1 w2 w3"]
        assert one.sketches.settled == "w0 w1 w2 w3"


async def test_what_is_settled_stays_whatever_comes() -> None:
    shrunk = draft(range(HELD + 1))
    changed = draft(range(100, 120))
    async with studio(*GROWN, shrunk, *[changed] * DRAFTS, *GROWN) as one:
        await one.made_all()
        await eventually(lambda: len(one.told) == 2 * len(GROWN) + 1 + DRAFTS)
        settled = [interim.settled for interim in one.interims]
        assert all(now.startswith(before) for before, now in pairwise(settled))
        assert settled[len(GROWN) :] == ["w0 w1 w2 w3"] * (1 + DRAFTS + len(GROWN))


async def test_another_model_begins_anew_and_what_was_settled_stays() -> None:
    others = [Drafted(one, OTHER) for one in GROWN]
    async with studio(*GROWN, *others) as one:
        await one.made_all()
        await eventually(lambda: len(one.told) == 2 * len(GROWN))
        known = one.known[len(GROWN) :]
        assert {(known.model, len(known.tokens)) for known in known[:DRAFTS]} == {(MANIFEST.model, 4)}
        assert (known[DRAFTS].model, len(known[DRAFTS].tokens)) == (OTHER.model, 2)
        assert {interim.settled for interim in one.interims[len(GROWN) :]} == {"w0 w1 w2 w3"}
        assert [interim.manifest.model for interim in one.interims] == [MANIFEST.model] * 4 + [OTHER.model] * 4


async def test_a_new_segment_knows_nothing_of_the_last() -> None:
    async with studio(*GROWN, draft(range(3))) as one:
        while len(one.answers) > 1:
            await one.made()
        one.sketches.begin(CLOCK)
        assert one.sketches.settled == ""
        await one.made(clock=2 * CLOCK, start=CLOCK)
        assert one.known[-1] == Known()
        await eventually(lambda: len(one.told) == len(GROWN) + 1)
        assert one.interims[-1].settled == ""


async def test_nobody_asks_for_more_once_no_segment_is_open() -> None:
    async with studio() as one:
        one.sketches.begin(1000)
        one.sketches.later(5000)
        one.sketches.end()
        assert one.asked == [1000 + FIRST, 5000 + EVERY]


async def test_sketches_come_sooner_until_one_says_something() -> None:
    silent = draft((), said=False)
    async with studio(silent, draft(range(40), repeats=True), draft(range(2)), silent) as one:
        await one.made_all()
        assert one.asked == [CLOCK + AGAIN, CLOCK + AGAIN, CLOCK + EVERY, CLOCK + EVERY]
        assert [interim.text for interim in one.interims] == ["w0 w1"]
        assert one.watcher.sketches == [pytest.approx(0.0, abs=0.1)]


async def test_sketches_that_take_long_are_rarer() -> None:
    async with studio(draft((), said=False)) as one:
        one.takes_s = 0.045
        assert one.takes_s / SHARE * SAMPLE_RATE > AGAIN
        await one.made()
        (asked,) = one.asked
        assert CLOCK + one.takes_s / SHARE * SAMPLE_RATE <= asked < CLOCK + SAMPLE_RATE


@pytest.mark.parametrize("failure", [RecognitionFailed("nonsense"), ZeroDivisionError()])
async def test_a_draft_that_fails_is_no_end(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async with studio(*GROWN[:2], failure, *GROWN[2:]) as one:
        with caplog.at_level(logging.ERROR):
            await one.made_all()
        await eventually(lambda: len(one.told) == len(GROWN))
        assert one.sketches.settled == "w0 w1 w2 w3"
        assert one.watcher.sketches.count(None) == 1
        assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_what_nobody_takes_is_dropped_and_counts_for_what_is_settled() -> None:
    one = Studio(*(Drafted(grown, MANIFEST) for grown in GROWN))
    await one.made_all()
    assert one.watcher.sketches == [None] * len(GROWN)
    assert one.sketches.settled == "w0 w1 w2 w3"
    one.sketches.end()


async def test_a_text_that_begins_with_a_space_is_settled_without_it() -> None:
    spaced = [replace(grown, tokens=(replace(grown.tokens[0], piece=b"  w0"), *grown.tokens[1:])) for grown in GROWN]
    async with studio(*spaced) as one:
        await one.made_all()
        assert one.sketches.settled.startswith("w0 w1")
