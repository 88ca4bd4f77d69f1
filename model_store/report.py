"""How far a pull or a conversion is: what the work says to whoever shows it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["wait", "fetch", "check", "convert", "store", "note"]


@dataclass(frozen=True, slots=True)
class Progress:
    """`what` is at `done` of `total` (bytes when fetching, steps when converting; None: not known).

    A "note" is worth a line of its own.
    """

    stage: Stage
    what: str
    done: int = 0
    total: int | None = None


Report = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Tells nobody."""
