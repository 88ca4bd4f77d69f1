"""What happened to the variants in memory, the last first, as far as it is remembered."""

import logging
from collections import deque

from service.engine.types import Event, Observer

_log = logging.getLogger(__name__)

KEPT = 100
"""Events: an hour of a switch every half minute."""


class Journal:
    """Written and read on the event loop; the observer is told of each event too."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._events: deque[Event] = deque(maxlen=KEPT)

    @property
    def events(self) -> tuple[Event, ...]:
        """The last first."""
        return tuple(reversed(self._events))

    def note(self, event: Event) -> None:
        """Remember it, and say so in the log."""
        self._events.append(event)
        self._observer.happened(event)
        said = _log.warning if event.kind == "failed" else _log.info
        said("%s %s in %.0f ms: %s", event.variant, event.kind, 1e3 * event.took_s, event.reason)
