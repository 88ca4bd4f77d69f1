"""Which builds could not be loaded lately, why, and for how long they are passed over."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from model_store.manifest import Manifest
from service.errors import ModelUnavailable, NoRoom

BLOCKED_S = 300.0
"""Seconds for which a variant that could not be loaded is not tried again, unless somebody asks for it."""

CROWDED_S = 30.0
"""The same for one that could have come in another's place, had that not been in use."""

RETRY_S = 10.0
"""Seconds for which those are refused who ask for it: each try takes half a second of a core."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """In words: an error with its traceback would keep the request that it came from, audio and all."""

    digest: str
    told: str
    unavailable: str | None
    at_s: float
    blocked_s: float


class Failures:
    """Another build of a variant starts afresh."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, _Failure] = {}

    def note(self, manifest: Manifest, error: ModelUnavailable | NoRoom, *, blocked_s: float) -> None:
        """Remember that a build could not be loaded."""
        unavailable = error.reason if isinstance(error, ModelUnavailable) else None
        self._failures[manifest.name] = _Failure(manifest.digest, str(error), unavailable, self._clock(), blocked_s)

    def clear(self, manifest: Manifest) -> None:
        """It could."""
        self._failures.pop(manifest.name, None)

    def told(self, manifest: Manifest) -> str | None:
        """Why it could not, if that was seen lately."""
        failed = self._of(manifest)
        return failed.told if failed else None

    def broken(self, manifest: Manifest) -> str | None:
        """The same, but for one that lacked room alone: others may have left since."""
        failed = self._of(manifest)
        return failed.told if failed and failed.unavailable is not None else None

    def blocks(self, manifest: Manifest) -> bool:
        """Whether it is passed over."""
        failed = self._of(manifest)
        return failed is not None and self._clock() < failed.at_s + failed.blocked_s

    def refuse(self, manifest: Manifest) -> None:
        """Spare it another try so soon.

        Raises:
            ModelUnavailable: it could not be loaded a moment ago.
        """
        failed = self._of(manifest)
        if failed and failed.unavailable is not None and self._clock() < failed.at_s + RETRY_S:
            raise ModelUnavailable(manifest.name, failed.unavailable)

    def tidy(self) -> None:
        """Forget what is long ago."""
        since_s = self._clock() - BLOCKED_S
        self._failures = {name: one for name, one in self._failures.items() if one.at_s > since_s}

    def _of(self, manifest: Manifest) -> _Failure | None:
        failed = self._failures.get(manifest.name)
        return failed if failed and failed.digest == manifest.digest else None
