"""The larger variant of a cascade: in memory while there is room, and leased to the requests that it may help."""

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from model_store.manifest import Manifest
from service.engine.governor import Governor
from service.engine.passage import Cascade
from service.engine.profile import Hosted
from service.engine.stock import Stock
from service.engine.types import Request
from service.engine.variants import Variants
from service.errors import WrenError

_log = logging.getLogger(__name__)

RETRY_S = 10.0
"""Seconds between two tries to have it in memory, which others may have taken."""


class Cascading:
    """For the event loop. Without a `model` there is no cascade."""

    def __init__(
        self, model: str | None, stock: Stock, variants: Variants, governor: Governor, *, target_s: float
    ) -> None:
        self._model, self._target_s = model, target_s
        self._stock, self._variants, self._governor = stock, variants, governor
        self._coming: asyncio.Task[None] | None = None
        self._tried_s = -math.inf

    async def start(self) -> None:
        """Load it, or say why nothing will be decoded twice."""
        larger = self._larger()
        if larger is not None:
            await self._load(larger)
        elif self._model:
            _log.warning("nothing is decoded twice, for there is no %s that may be served", self._model)

    async def close(self) -> None:
        """Load it no more."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)

    @contextmanager
    def cascade(self, request: Request, hosted: Hosted) -> Iterator[Cascade | None]:
        """None for who insists on a variant or still speaks, under strain, where this is the larger one, or away."""
        larger = self._larger() if self._wanted(request) else None
        if larger is None or larger.name == hosted.manifest.name:
            yield None
            return
        lease = self._variants.lease_present(larger)
        if lease is None:
            self._fetch(larger)
            yield None
            return
        with lease as found:
            yield Cascade(found, self._target_s)

    def _wanted(self, request: Request) -> bool:
        insists = self._stock.choices().key(request.model) is None or request.priority in ("live", "background")
        return not insists and request.options.task == "transcribe" and not self._governor.strained(request.model)

    def _larger(self) -> Manifest | None:
        try:
            return self._stock.choices().choose(self._model).manifest if self._model else None
        except WrenError as error:
            _log.debug("nothing is decoded twice: %s", error)
            return None

    def _fetch(self, larger: Manifest) -> None:
        """It was let go for others, or another build of it lies in the store."""
        if time.monotonic() < self._tried_s + RETRY_S or (self._coming and not self._coming.done()):
            return
        self._coming = asyncio.create_task(self._load(larger))

    async def _load(self, larger: Manifest) -> None:
        self._tried_s = time.monotonic()
        try:
            await self._variants.load(larger, reason="it decodes what others are unsure of", keep_alive_s=math.inf)
        except WrenError as error:
            _log.warning("nothing is decoded twice: %s", error)
