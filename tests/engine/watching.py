"""An observer that remembers what it is told of live streams."""

from collections.abc import Mapping
from typing import Literal

from service.engine.observing import Unobserved


class Watcher(Unobserved):
    """See `service.engine.types.Observer`.

    Attributes:
        rejections: why requests were refused.
        sketches: how far behind its audio each interim result was; None for those that were dropped.
        finals: of each that said something: seconds behind its audio, seconds of audio, variant.
        cancellations: requests that were dropped.
    """

    def __init__(self) -> None:
        self.rejections: list[str] = []
        self.sketches: list[float | None] = []
        self.finals: list[tuple[float, float, str]] = []
        self.cancellations = 0

    def rejected(self, reason: Literal["queue", "deadline", "streams"]) -> None:
        self.rejections.append(reason)

    def sketched(self, *, lag_s: float | None) -> None:
        self.sketches.append(lag_s)

    def settled(self, *, lag_s: float, audio_s: float, variant: str, stage_ms: Mapping[str, float]) -> None:
        self.finals.append((lag_s, audio_s, variant))

    def cancelled(self) -> None:
        self.cancellations += 1
