"""A variant in memory, and the right to compute with it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from model_store.manifest import Manifest
from service.engine.profile import Hosted
from service.engine.types import ModelInfo, State


@dataclass(slots=True, eq=False)
class Resident:
    """A variant in memory.

    Attributes:
        memory_bytes: that the process grew by as it was loaded.
        took_s: seconds for that.
        keep_s: seconds without use that it stays, as somebody asked; None for the default.
        leases: requests that use it.
        used_s: monotonic clock, when the last of them ended.
    """

    hosted: Hosted
    memory_bytes: int
    took_s: float
    keep_s: float | None = None
    leases: int = 0
    used_s: float = field(default_factory=time.monotonic)
    unused: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.unused.set()

    @property
    def name(self) -> str:
        return self.hosted.manifest.name

    def idle_s(self) -> float | None:
        """Seconds since it was last used; None while it is."""
        return None if self.leases else time.monotonic() - self.used_s

    def info(self, manifest: Manifest, state: State, *, failure: str | None) -> ModelInfo:
        """How it stands with it; `manifest` is what the store has of it."""
        gpu_bytes = self.hosted.recognizer.backend.device_bytes
        return ModelInfo(
            manifest,
            state,
            default=False,
            device="cuda" if gpu_bytes else "cpu",
            leases=self.leases,
            memory_bytes=self.memory_bytes,
            gpu_memory_bytes=gpu_bytes,
            load_ms=1e3 * self.took_s,
            idle_s=self.idle_s(),
            failure=failure,
        )


class Lease:
    """The right to compute with a variant, to the end of the block: it stays in memory until then."""

    def __init__(self, resident: Resident, *, ended: Callable[[Resident], None]) -> None:
        self.resident, self._ended = resident, ended
        resident.leases += 1
        resident.unused.clear()

    @property
    def hosted(self) -> Hosted:
        return self.resident.hosted

    def move(self, to: "Lease") -> None:
        """Take over another lease in place of this one, which ends."""
        self.resident, to.resident = to.resident, self.resident
        to.end()

    def end(self) -> None:
        """Let somebody else use it."""
        self.resident.leases -= 1
        self.resident.used_s = time.monotonic()
        if not self.resident.leases:
            self.resident.unused.set()
            self._ended(self.resident)

    def __enter__(self) -> Hosted:
        return self.hosted

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
