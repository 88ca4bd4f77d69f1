"""Requests that are served now; those whose turn has not come go along when another variant serves.

What waits when the load is too much for a variant is then computed by the quicker one already, and each answer is that
of one variant still.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace

from model_store.manifest import Manifest
from service.engine.choice import Choice
from service.engine.lease import Lease
from service.engine.passage import Passage
from service.engine.types import Request, Served
from service.engine.variants import Variants
from service.recognition.types import Segment


@dataclass(slots=True, eq=False)
class Stay:
    """A request, what was chosen for it, and its way through the engine."""

    request: Request
    choice: Choice
    lease: Lease
    passage: Passage

    def tell(self) -> None:
        """Say what serves it, to whom wants to know."""
        if self.request.on_chosen is not None:
            self.request.on_chosen(self.lease.hosted.manifest, self.choice.reason)

    async def items(self) -> AsyncGenerator[Segment | Served, None]:
        """Its segments, then the whole."""
        try:
            async with aclosing(self.passage.segments()) as segments:
                async for segment in segments:
                    yield segment
            served = await self.passage.served()
            yield replace(served, reason="; ".join(filter(None, (self.choice.reason, served.reason))))
        finally:
            self.passage.leave()


class Stays:
    """Those that may go along. For the event loop."""

    def __init__(self, variants: Variants) -> None:
        self._variants = variants
        self._open: set[Stay] = set()

    @contextmanager
    def kept(self, stay: Stay) -> Iterator[None]:
        """It may, to the end of the block."""
        self._open.add(stay)
        try:
            yield
        finally:
            self._open.discard(stay)

    def move(self, previous: Manifest, choice: Choice) -> None:
        """Take along those that were to be served as `previous` served, to what serves now."""
        if previous.model != choice.manifest.model:  # it may know other languages, and hear other windows
            return
        for stay in tuple(self._open):
            if stay.choice.governed == choice.governed and stay.lease.hosted.manifest.digest == previous.digest:
                self._move(stay, choice)

    def _move(self, stay: Stay, choice: Choice) -> None:
        lease = self._variants.lease_present(choice.manifest)
        if lease is None:
            return
        if not stay.passage.move(lease.hosted):
            lease.end()
            return
        if stay.request.keep_alive_s is not None:
            lease.resident.keep_s = stay.request.keep_alive_s
        stay.lease.move(lease)
        stay.choice = choice
        stay.tell()
