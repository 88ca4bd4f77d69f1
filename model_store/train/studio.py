"""What a step that trains is given: recordings, a folder to work in, and someone who watches. Free of torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model_store.evaluate.layouts import Utterance


@dataclass(frozen=True, slots=True)
class Told:
    """After a step, for whoever watches."""

    step: int
    steps: int
    loss: float
    rate: float
    held_out: float | None = None


Watch = Callable[[Told], None]


class NotLeading(Exception):
    """This process is one of several, has done its share, and another one goes on."""


@dataclass(frozen=True, slots=True)
class Studio:
    """What is there to train with.

    Attributes:
        base: the folder of the base variant, which teaches.
        utterances: that are trained on; their texts may be empty.
        folder: where the corpus, the examples and the checkpoints are kept: a run that was stopped goes on from there.
        threads: that compute.
    """

    base: Path
    utterances: Sequence[Utterance]
    folder: Path
    threads: int
    watch: Watch = field(default=lambda _: None)
