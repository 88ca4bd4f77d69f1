"""The engine's seam: what `api` and `cli` hand in and what comes back. Nothing here knows HTTP or a backend."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from model_store.manifest import Manifest
from service.audio.types import RawFormat, VadOptions
from service.engine.budget import Asked
from service.engine.plan import Plan
from service.recognition.types import Options, Segment, Transcript

Priority = Literal["interactive", "batch"]
"""Whether somebody waits for the answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One recording to transcribe.

    Attributes:
        audio: the bytes as uploaded, or the path of a file that outgrew memory.
        model: `model`, `model:variant` or `auto`.
        raw: set when the client says that the audio has no header.
        client: who asks; clients share the machine equally.
        deadline_s: seconds from now after which the answer is of no use; None for the engine's own budget, infinite for
            no limit at all.
    """

    audio: bytes | Path
    model: str = "auto"
    options: Options = field(default_factory=Options)
    vad: VadOptions = field(default_factory=VadOptions)
    raw: RawFormat | None = None
    client: str = ""
    priority: Priority = "interactive"
    deadline_s: float | None = None

    @property
    def size_bytes(self) -> int:
        """Of the upload; of a file, as it is on the disk now."""
        return len(self.audio) if isinstance(self.audio, bytes) else self.audio.stat().st_size


@dataclass(frozen=True, slots=True)
class Served:
    """What answered a request: the transcript, the variant that made it and where the time went."""

    transcript: Transcript
    manifest: Manifest
    stage_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds a stage, in order: decode, vad, queue, encode, decode_text. Encoder and decoder are shared with
    others: theirs is how long the windows of this request were in them, summed over its windows."""
    reason: str = ""
    """Why this variant."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A variant in the store and whether it is loaded.

    Attributes:
        default: whether the bare model name means this variant.
        first: whether it is what the plan would have of all models; `auto` means it if no model is the default.
        reason: why it is the default of its model.
    """

    manifest: Manifest
    state: Literal["loaded", "available"]
    default: bool
    device: str = "cpu"
    first: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the engine is at this moment.

    Attributes:
        waiting_s: seconds of audio that were accepted and are not recognised yet; more than `limit_s` is refused.
        windows: windows that wait for their turn.
        rows: rows that are being decoded.
        speed: seconds of audio recognised a second, as lately measured under load.
        executors: threads that compute.
        stalled_s: seconds since the last batch was done while there is work; 0 without work.
        loaded: names of the variants that are loaded and warm.
    """

    waiting_s: float = 0.0
    limit_s: float = 0.0
    windows: int = 0
    rows: int = 0
    speed: float = 0.0
    executors: int = 0
    stalled_s: float = 0.0
    loaded: tuple[str, ...] = ()


class Observer(Protocol):
    """Told of what the engine does, from any thread; it must return at once."""

    def encoded(self, *, rows: int, seconds: float) -> None:
        """An encoder batch was computed."""
        ...

    def stepped(self, *, rows: int, seconds: float) -> None:
        """A decoder step was computed, the feeding of prompts included."""
        ...

    def rejected(self, reason: Literal["queue", "deadline"]) -> None:
        """A request was refused: the queue is full, or its deadline cannot be met."""
        ...

    def expired(self) -> None:
        """A request ran out of time."""
        ...

    def cancelled(self) -> None:
        """A request was dropped since its client left."""
        ...

    def failed(self) -> None:
        """A window failed by itself."""
        ...

    def restarted(self, reason: Literal["stuck", "crashed"]) -> None:
        """An executor was given up and another took its place."""
        ...


class Engine(Protocol):
    """Transcribes recordings. Safe to call from the event loop: it never blocks it.

    Cancelling the task that awaits, or closing the iterator, drops the work that has not begun.

    Raises:
        WrenError: as `service.errors` has it.
    """

    async def transcribe(self, request: Request) -> Served: ...

    def stream(self, request: Request) -> AsyncIterator[Segment | Served]:
        """Segments as they are done, in order; the whole comes last."""
        ...

    def models(self) -> tuple[ModelInfo, ...]: ...

    def load(self) -> Load: ...

    async def plan(self, model: str, asked: Asked) -> Plan:
        """What would serve of a model, of all for `auto`, under the budget with what is asked for in its place.

        Raises:
            ModelNotFound: there is no such model.
        """
        ...

    async def start(self) -> None:
        """Measure what was never measured here, as far as the time for it suffices; load and warm up the default."""
        ...

    async def close(self) -> None: ...
