"""The engine's seam: what `api` and `cli` hand in and what comes back. Nothing here knows HTTP or a backend."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from model_store.manifest import Manifest, Precision
from service.audio.types import RawFormat, Samples, VadOptions
from service.engine.budget import Asked
from service.engine.ladder import Ladder
from service.engine.plan import Plan
from service.engine.precision import Cause, Orders, Signals
from service.engine.streaming import Stream, StreamRequest
from service.recognition.types import Language, Options, Segment, Transcript

Priority = Literal["live", "interim", "interactive", "batch", "background"]
"""Whether somebody waits for the answer, or even speaks meanwhile; interim results of a stream may be missed. What is
in the background is let in however much there is, since whoever asks sees to it, and keeps nobody else out."""


@dataclass(frozen=True, slots=True)
class WindowDone:
    """A window of a recording, recognised; they come in order.

    Attributes:
        number: its own, from 0.
        of: how many there are.
        languages: of the recording, as `Transcript` has them.
    """

    number: int
    of: int
    segments: tuple[Segment, ...]
    languages: tuple[Language, ...]


@dataclass(frozen=True, slots=True)
class Resumption:
    """How far the same variant got with the same recording and options before; `languages` is what it found then."""

    windows: int
    languages: tuple[Language, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One recording to transcribe.

    Attributes:
        audio: the bytes as uploaded, the path of a file that outgrew memory, or what a live stream was decoded to.
        model: `model`, `model:variant` or `auto`.
        raw: set when the client says that the audio has no header.
        client: who asks; clients share the machine equally.
        deadline_s: seconds from now after which the answer is of no use; None for the engine's own budget, infinite for
            no limit at all.
        precision: a wish, which is granted where a variant of `model` can and an operator or the load let it; None
            leaves it to the policy. A variant that is named in `model` is no wish: it serves or the request fails.
        keep_alive_s: how long the variant stays in memory after it, if nobody else uses it: 0 for not at all, infinite
            for as long as there is room; None for the engine's own time.
        preceded: whether `audio` was cut out of a live stream, and more of the same sound came before.
        on_chosen: called on the event loop with the variant that will serve and why this one, once that is known and
            before anything else: the headers of a stream go out before its end.
        on_window: awaited with each window before the next one counts.
        resumption: windows that are not recognised again; the transcript is that of the others.
    """

    audio: bytes | Path | Samples
    model: str = "auto"
    options: Options = field(default_factory=Options)
    vad: VadOptions = field(default_factory=VadOptions)
    raw: RawFormat | None = None
    client: str = ""
    priority: Priority = "interactive"
    deadline_s: float | None = None
    precision: Precision | None = None
    keep_alive_s: float | None = None
    preceded: bool = False
    on_chosen: Callable[[Manifest, str], None] | None = field(default=None, compare=False)
    on_window: Callable[[WindowDone], Awaitable[None]] | None = field(default=None, compare=False)
    resumption: Resumption | None = None

    @property
    def size_bytes(self) -> int:
        """Of the upload; of a file, as it is on the disk now."""
        if isinstance(self.audio, Path):
            return self.audio.stat().st_size
        return len(self.audio) if isinstance(self.audio, bytes) else self.audio.nbytes


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
    windows: int = 0
    cascaded: int = 0
    """Of the windows, those that a larger variant heard again since this one was unsure of them."""


State = Literal["available", "loading", "loaded", "draining", "failed"]
"""Of a variant: in the store, on its way into memory, in it, on its way out, or not to be loaded for now."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A variant in the store and whether it is loaded.

    Attributes:
        default: whether the bare model name means this variant now.
        first: whether `auto` means it now.
        reason: why it is the default of its model.
        leases: requests that use it now.
        memory_bytes: that the process grew by when it was loaded; None unless it is in memory.
        gpu_memory_bytes: that its weights take on GPUs, 0 for none; None unless it is in memory.
        load_ms: that this took, the smoke test included; None unless it is in memory.
        idle_s: since when nobody has used it; None unless it is in memory and idle.
        failure: why it cannot be loaded, if that was seen lately.
    """

    manifest: Manifest
    state: State
    default: bool
    device: str = "cpu"
    first: bool = False
    reason: str = ""
    leases: int = 0
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    load_ms: float | None = None
    idle_s: float | None = None
    failure: str | None = None


Happening = Literal["loaded", "unloaded", "failed", "switched"]
"""To a variant: into memory, out of it, it could not be loaded, it serves in another's place."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the variants in memory.

    Attributes:
        variant: to which; of a switch, what serves from then on.
        previous: of a switch, what served before.
        cause, reason: of a switch, what moved the policy; else the reason alone.
        took_s: seconds, from the decision to the end.
        memory_bytes: that the process grew by, negative if it shrank; for a switch with the load that it needed.
    """

    at: datetime
    kind: Happening
    variant: str
    reason: str
    took_s: float
    memory_bytes: int = 0
    previous: str | None = None
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Governed:
    """A model whose precision the policy chooses.

    Attributes:
        model: the name that requests use; `auto` where that leaves the model to the plan.
        serving: the variant that answers to it.
        since: when it began to.
        ladder: the rungs that it moves on.
        switching_to: a variant that is being loaded to serve.
        interims: whether interim results are computed.
        failing: rungs that could not be loaded lately, with the reasons.
    """

    model: str
    serving: str
    cause: Cause
    reason: str
    since: datetime
    ladder: Ladder
    orders: Orders
    switching_to: str | None = None
    interims: bool = True
    failing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrecisionReport:
    """What serves, what the policy saw at its last look, and what happened lately, the last first.

    Attributes:
        models: those that were asked for; what `auto` means comes first.
        resident_bytes: of this process.
        memory_bytes: that it may use; None without a limit.
    """

    models: tuple[Governed, ...]
    signals: Signals
    resident_bytes: int
    memory_bytes: int | None
    events: tuple[Event, ...]


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
        streams: live ones that are open; more than `streams_limit` are refused.
        stream_lag_s: of the open stream whose last final came latest behind its audio.
        failing: why what clients get by default could not be loaded lately, if it is not in memory.
    """

    waiting_s: float = 0.0
    limit_s: float = 0.0
    windows: int = 0
    rows: int = 0
    speed: float = 0.0
    executors: int = 0
    stalled_s: float = 0.0
    loaded: tuple[str, ...] = ()
    streams: int = 0
    streams_limit: int = 0
    stream_lag_s: float = 0.0
    failing: str | None = None


class Observer(Protocol):
    """Told of what the engine does, from any thread; it must return at once."""

    def encoded(self, *, rows: int, seconds: float) -> None:
        """An encoder batch was computed."""
        ...

    def stepped(self, *, rows: int, seconds: float) -> None:
        """A decoder step was computed, the feeding of prompts included."""
        ...

    def rejected(self, reason: Literal["queue", "deadline", "streams"]) -> None:
        """A request was refused: the queue is full, its deadline cannot be met, or there are too many live streams."""
        ...

    def sketched(self, *, lag_s: float | None) -> None:
        """An interim result of a live stream was told, so far behind its audio; None if it was dropped."""
        ...

    def settled(self, *, lag_s: float, audio_s: float, variant: str, stage_ms: Mapping[str, float]) -> None:
        """A final of a live stream is told, so far behind the end of its audio, after so long in each stage."""
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

    def happened(self, event: Event) -> None:
        """A variant was loaded, unloaded or could not be loaded, or serves in another's place."""
        ...


class Engine(Protocol):
    """Transcribes recordings. Safe to call from the event loop: it never blocks it.

    Cancelling the task that awaits, or closing the iterator, drops the work that has not begun.

    Raises:
        WrenError: as `service.errors` has it.
    """

    async def transcribe(self, request: Request) -> Served: ...

    def listen(self, request: StreamRequest) -> AbstractAsyncContextManager[Stream]:
        """Let a live stream in; at the end of the block whatever it has in work is dropped.

        Raises:
            Overloaded: the machine holds no more streams.
            ModelNotFound, ModelUnavailable, NothingFits, OptionError: as for a recording.
        """
        ...

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

    def precision(self) -> PrecisionReport: ...

    async def order(self, model: str, orders: Orders) -> PrecisionReport:
        """Give a model new orders, in place of those it had; returns when what they ask for serves.

        Args:
            model: `auto` for what clients get by default.
            orders: its names are precisions (`int8`), variants of the model (`pruned30-int8`) or `model:variant`.

        Raises:
            ModelNotFound: there is no such model.
            OptionError: a name in the orders means none of its variants.
            ModelUnavailable, NothingFits: what was pinned cannot be loaded; the orders are as before.
        """
        ...

    async def load_model(self, name: str, *, keep_alive_s: float | None = None) -> ModelInfo:
        """Have a variant in memory; returns when it is. A bare model or `auto` means the variant that serves it.

        Raises:
            ModelNotFound: there is no such model or variant.
            ModelUnavailable, NothingFits: it cannot be loaded, or there is no room for it.
        """
        ...

    async def unload_model(self, name: str) -> tuple[ModelInfo, ...]:
        """Take a variant out of memory, of a bare model all; returns when the last request that uses it is answered.

        Returns those that it took out, as they are now. `auto` is the model that it means.

        Raises:
            ModelNotFound: there is no such model or variant.
        """
        ...

    async def start(self) -> None:
        """Measure what was never measured here, as far as the time for it suffices; load and warm up the default."""
        ...

    async def close(self) -> None: ...
