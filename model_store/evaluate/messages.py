"""What an evaluation and the process that computes it say to each other, one JSON object a line."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recording(_Line):
    """One to be recognised."""

    path: Path
    lang: str


class Order(_Line):
    """What the process is to do: load a variant of a store, recognise recordings one after another."""

    store: Path
    variant: str
    threads: int
    recordings: tuple[Recording, ...]


class Ready(_Line):
    """The variant is loaded and warm; `gpus` are those that it computes on."""

    kind: Literal["ready"] = "ready"
    load_ms: float
    gpus: tuple[str, ...] = ()


class Heard(_Line):
    """What the next recording's text is; `seconds` from its bytes to that."""

    kind: Literal["heard"] = "heard"
    text: str
    tokens: int
    audio_s: float
    seconds: float


class Failed(_Line):
    """The variant or a recording cannot be used: the process ends."""

    kind: Literal["failed"] = "failed"
    reason: str


class Done(_Line):
    """All is recognised; what it took."""

    kind: Literal["done"] = "done"
    peak_bytes: int
    energy_j: float | None


Message = Ready | Heard | Failed | Done

MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])
