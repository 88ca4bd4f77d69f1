"""A live stream that tells what a script says: for tests of what lies above the seam, with `FakeEngine`."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from model_store.manifest import Manifest
from service.audio.endpoint import Cut
from service.audio.types import RawFormat
from service.engine.streaming import Cleared, Final, StreamEvent, StreamRequest
from service.errors import OptionError, WrenError
from service.recognition.types import Language, Segment

_SAMPLE_BYTES = {"linear16": 2, "linear32": 4, "float32": 4, "mulaw": 1, "alaw": 1}
_CONTAINER = RawFormat("linear16", 16_000)
"""A container's bytes are counted as if they were this: nothing here decodes."""


@dataclass(frozen=True, slots=True)
class Script:
    """What happens on a stream.

    Attributes:
        audio: what each `feed` in turn leads to; a `WrenError` ends the stream. A `Final` in it needs no manifest.
        commit: what is in the final that answers each `commit` in turn; nothing once they are used up.
        finish: what is in the last final.
    """

    audio: tuple[tuple[StreamEvent | WrenError, ...], ...] = ()
    commit: tuple[tuple[Segment, ...], ...] = ()
    finish: tuple[Segment, ...] = ()


SILENT = Script()


class FakeStream:
    """One stream.

    Attributes:
        request: how it is heard; as it was configured last.
        configured: what it was given to be heard otherwise, in order.
        audio: all that was fed.
        calls: what was called, in order: feed, commit, clear, finish or configure.
        left: whether it is over.
    """

    def __init__(
        self, request: StreamRequest, script: Script, serving: Callable[[str], Manifest], gate: asyncio.Event | None
    ) -> None:
        """`serving` gives what serves a model of that name."""
        self._serving, self._gate = serving, gate
        self._manifest = serving(request.model)
        self._audio, self._commit, self._finish = iter(script.audio), iter(script.commit), script.finish
        self._events: asyncio.Queue[StreamEvent | WrenError | None] = asyncio.Queue()
        self._final_s = 0.0
        self._heard_s = 0.0
        self.request = request
        self.configured: list[StreamRequest] = []
        self.audio = b""
        self.calls: list[str] = []
        self.left = False

    async def feed(self, audio: bytes) -> None:
        self.calls.append("feed")
        if self._gate is not None:
            await self._gate.wait()
        self.audio += audio
        raw = self.request.raw or _CONTAINER
        self._heard_s += len(audio) / (_SAMPLE_BYTES[raw.encoding] * raw.sample_rate * raw.channels)
        for event in next(self._audio, ()):
            self._tell(event)

    async def commit(self) -> None:
        self.calls.append("commit")
        self._tell(self._final(next(self._commit, ()), "asked"))

    async def clear(self) -> None:
        self.calls.append("clear")
        self._final_s = self._heard_s
        self._tell(Cleared(self._heard_s))

    async def finish(self) -> None:
        self.calls.append("finish")
        self._tell(self._final(self._finish, "end"))
        self._events.put_nowait(None)

    async def configure(self, request: StreamRequest) -> None:
        self.calls.append("configure")
        if self.audio and (request.raw, request.model) != (self.request.raw, self.request.model):
            raise OptionError("Model and layout of the audio cannot change once audio was sent.", param="format")
        self._manifest = self._serving(request.model)
        self.request = request
        self.configured.append(request)

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, WrenError):
                raise event
            yield event

    def _final(self, segments: tuple[Segment, ...], cut: Cut) -> Final:
        end_s = max(self._heard_s, self._final_s)
        languages = (Language("en", 1.0),) if segments else ()
        return Final(self._final_s, end_s, segments, cut, languages)

    def _tell(self, event: StreamEvent | WrenError) -> None:
        if isinstance(event, Final):
            self._final_s = event.end_s
            event = replace(event, manifest=self._manifest if event.segments else None)
        self._events.put_nowait(event)
