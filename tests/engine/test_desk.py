"""The desk's short work between turns, run by hand."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from service.audio.types import SAMPLE_RATE
from service.backends.fake import FakeBackend, FakeMemory, Line
from service.engine.desk import Desk
from service.engine.fake import model_info
from service.engine.forming import EncodeCosts, Point
from service.engine.observing import Unobserved
from service.engine.profile import Hosted, Profile
from service.engine.work import Ticket, Work
from service.recognition.computation import Computation, Encode
from service.recognition.recognizer import Recognizer
from tests.recognition.models import whisper

pytestmark = pytest.mark.anyio

LINE = Line((3000,))


class Counter:
    """A desk, and what its windows did."""

    def __init__(self) -> None:
        self.desk = Desk(self._submit, Unobserved(), on_distrusted=lambda _: None)
        self.seen: list[str] = []
        self._errands: list[Callable[[], None]] = []
        backend = FakeBackend([LINE], vocabulary=51_864, end_token=50_256)
        profile = Profile(EncodeCosts((Point(1, 500, 10.0),)), 4, "given", 10.0)
        self._hosted = Hosted(model_info("fake", "fp32").manifest, Recognizer(backend, whisper()), profile)

    def comes(
        self, name: str, client: str = "", *, way: Callable[[Recognizer], Computation[None]] | None = None
    ) -> Work:
        def told(_: Recognizer) -> Computation[None]:
            self.seen.append(f"{name} begins")
            yield Encode(np.zeros(SAMPLE_RATE, np.float32))
            self.seen.append(f"{name} ends")

        future = asyncio.get_running_loop().create_future()
        work = Work(Ticket(client, "interactive", 0.0), self._hosted, way or told, 1.0, future)
        self.desk.begin(work)
        return work

    def run(self) -> None:
        errands, self._errands = self._errands, []
        for errand in errands:
            errand()

    def _submit(self, errand: Callable[[], None]) -> "Future[None]":
        self._errands.append(errand)
        return Future()


async def test_what_goes_on_does_not_wait_for_what_begins() -> None:
    at = Counter()
    first = at.comes("first")
    at.run()
    at.comes("second")
    with at.desk.changed:
        assert at.desk.take(1) == [first]
    at.desk.answer(first, FakeMemory(LINE, 500))
    at.run()
    assert at.seen == ["first begins", "first ends", "second begins"]


async def test_windows_begin_in_fair_order() -> None:
    at = Counter()
    for index in range(3):
        at.comes(f"flood {index}", client="flood")
    at.comes("other", client="other")
    at.run()
    assert at.seen == ["flood 0 begins", "other begins", "flood 1 begins", "flood 2 begins"]


async def test_what_is_dropped_never_begins() -> None:
    at = Counter()
    dropped = at.comes("dropped")
    at.comes("kept")
    at.desk.drop(lambda work: work is dropped)
    at.run()
    assert at.seen == ["kept begins"]
    assert len(at.desk) == 1


async def test_a_window_goes_its_way_in_the_context_of_whoever_asked() -> None:
    at, seen = Counter(), []

    def way(_: Recognizer) -> Computation[None]:
        seen.append(get_contextvars())
        yield Encode(np.zeros(SAMPLE_RATE, np.float32))
        seen.append(get_contextvars())

    with bound_contextvars(request_id="mine"):
        first = at.comes("first", way=way)
    at.run()
    with at.desk.changed:
        at.desk.take(1)
    at.desk.answer(first, FakeMemory(LINE, 500))
    at.desk.begin(first.again(first.hosted))
    at.run()
    assert seen == [{"request_id": "mine"}] * 3


async def test_a_window_that_fails_is_logged_with_the_id_of_its_request(caplog: pytest.LogCaptureFixture) -> None:
    at, seen = Counter(), []
    caplog.handler.addFilter(lambda _: seen.append(get_contextvars()) is None)
    with bound_contextvars(request_id="mine"):
        first = at.comes("first")
    at.desk.lose(first, ZeroDivisionError())
    assert seen == [{"request_id": "mine"}]
