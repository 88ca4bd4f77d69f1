"""The open segment of a stream as it grows, in; interim results out, as often as the machine finds time for them.

One at a time. Each goes on from what those before agreed on, so that only the rest is decoded again; whatever is not
done in time is dropped, for the next one is more wanted.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from model_store.manifest import Manifest
from service.audio.ear import Overheard
from service.audio.types import SAMPLE_RATE, Span
from service.engine.streaming import Interim
from service.engine.telling import Telling, shifted
from service.engine.types import Request
from service.recognition.agreement import DRAFTS, settled
from service.recognition.recognizer import Draft
from service.recognition.tokenizer import text_of
from service.recognition.types import Segment, Token

_log = logging.getLogger(__name__)

FIRST = SAMPLE_RATE // 4
"""Speech before the first sketch: a word, mostly."""

EVERY = SAMPLE_RATE * 2 // 5
"""Audio from one sketch to the next."""

AGAIN = SAMPLE_RATE // 8
"""The same until one has said something."""

SHARE = 0.3
"""Of a stream's time, that it spends on sketches at most: the busier the machine, the rarer they are."""

LATE_S = 0.5
"""How far behind its audio an interim result may be; then it is dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class Drafted:
    """A draft and the variant that made it."""

    draft: Draft
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Known:
    """How a text is known to begin: tokens of this model."""

    model: str = ""
    tokens: tuple[Token, ...] = ()


class Drafting(Protocol):
    """What drafts windows, in an engine."""

    async def draft(self, request: Request, known: Known, *, left_s: float) -> Drafted | None:
        """What a recording seems to say so far; None if that takes longer, or cannot be told."""
        ...


class Sketches:
    """Of one stream; for the event loop."""

    def __init__(self, drafting: Drafting, telling: Telling, *, ask: Callable[[int], None]) -> None:
        """`ask` has the open segment told once it has come to this sample."""
        self._drafting, self._telling, self._ask = drafting, telling, ask
        self._task: asyncio.Task[None] | None = None
        self._known = Known()
        self._drafts: deque[Known] = deque(maxlen=DRAFTS)
        self.settled = ""
        """How the text of the open segment begins, as far as that is told."""

    def begin(self, at: int) -> None:
        """A segment opens at this sample."""
        self.end()
        self._ask(at + FIRST)

    def end(self) -> None:
        """No segment is open any more."""
        self.stop()
        self._known, self.settled = Known(), ""
        self._drafts.clear()

    def stop(self) -> None:
        """Let the one that is being made go."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def later(self, clock: int) -> None:
        """Not now."""
        self._ask(clock + EVERY)

    def make(self, heard: Overheard, request: Request, span: Span) -> None:
        """Make one of what the segment has grown to."""
        self.stop()
        self._task = asyncio.create_task(self._made(heard, request, span))

    def show(self, segments: tuple[Segment, ...], span: Span, manifest: Manifest, *, arrived_s: float) -> None:
        """Tell what was understood of a span, whose end came then; nothing where there are no words."""
        if segments:
            start_s, end_s = span.start / SAMPLE_RATE, span.end / SAMPLE_RATE
            interim = Interim(start_s, end_s, shifted(segments, start_s), self.settled, manifest)
            self._telling.show(interim, arrived_s=arrived_s)

    async def _made(self, heard: Overheard, request: Request, span: Span) -> None:
        began_s = time.monotonic()
        drafted = await self._drafted(request, left_s=LATE_S - (began_s - heard.arrived_s))
        took = int((time.monotonic() - began_s) / SHARE * SAMPLE_RATE)
        if drafted is None:
            self._telling.missed()
        elif drafted.draft.segments and not drafted.draft.repeats:
            self._agree(drafted)
            self.show(drafted.draft.segments, span, drafted.manifest, arrived_s=heard.arrived_s)
        self._ask(heard.clock + max(took, EVERY if self._drafts else AGAIN))

    async def _drafted(self, request: Request, *, left_s: float) -> Drafted | None:
        """Nothing if it cannot be had in time; whatever fails here is no reason to make no others."""
        try:
            return await self._drafting.draft(request, self._known, left_s=left_s) if left_s > 0 else None
        except Exception:
            _log.exception("a sketch failed")
            return None

    def _agree(self, drafted: Drafted) -> None:
        """Another model has other tokens: agreement begins anew then, and what was settled stays so in words."""
        model = drafted.manifest.model
        self._drafts.append(Known(model, drafted.draft.tokens))
        if len(self._drafts) < DRAFTS or {draft.model for draft in self._drafts} != {model}:
            return
        agreed = settled(*(draft.tokens for draft in self._drafts))
        text = text_of([token.piece for token in agreed]).lstrip()
        if text.startswith(self.settled) or self.settled.startswith(text):
            self._known = Known(model, agreed)
            self.settled = max(self.settled, text, key=len)
