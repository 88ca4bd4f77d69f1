"""How long work is told to stop: between two blocks it passes a checkpoint, which raises if nobody waits any more.

A thread cannot be ended from outside. Decoding and speech detection of hours pass one every few milliseconds.
"""

from collections.abc import Callable

Checkpoint = Callable[[], None]


class Abandoned(Exception):
    """The work is not wanted any more.

    It tells nothing of the recording, so it is no `WrenError`: whoever gave the checkpoint catches it.
    """


def always_on() -> None:
    """The checkpoint of work that is never abandoned."""
