"""The engine's seam: what `api` and `cli` hand in and what comes back. Nothing here knows HTTP or a backend."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from model_store.manifest import Manifest
from service.audio.types import RawFormat, VadOptions
from service.recognition.types import Options, Segment, Transcript


@dataclass(frozen=True, slots=True)
class Request:
    """One recording to transcribe.

    Attributes:
        audio: the bytes as uploaded, or the path of a file that outgrew memory.
        model: `model`, `model:variant` or `auto`.
        raw: set when the client says that the audio has no header.
    """

    audio: bytes | Path
    model: str = "auto"
    options: Options = field(default_factory=Options)
    vad: VadOptions = field(default_factory=VadOptions)
    raw: RawFormat | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """What answered a request: the transcript, the variant that made it and where the time went."""

    transcript: Transcript
    manifest: Manifest
    stage_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds a stage, in order: decode, vad, queue, encode, decode_text, … ."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A variant in the store and whether it is loaded."""

    manifest: Manifest
    state: Literal["loaded", "available"]
    default: bool
    """Whether the bare model name means this variant."""
    device: str = "cpu"


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

    async def start(self) -> None:
        """Load and warm up the default variant."""
        ...

    async def close(self) -> None: ...
