"""A job: what it asks for, how far it is, what became of it. Times are seconds since 1970, by the server's clock."""

from dataclasses import dataclass
from typing import Literal, Protocol

from model_store.manifest import Precision
from service.audio.types import RawFormat, VadOptions
from service.recognition.types import Language, Options

End = Literal["completed", "failed", "cancelled"]

State = Literal["queued", "running", End]

HookState = Literal["none", "waiting", "delivered", "given_up"]
"""Of the webhook: there is none, it is yet to be told, it was, it could not be."""


Tried = Literal["delivered", "refused", "given_up"]
"""What came of telling a webhook."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What is asked of the engine; its fields are those of `service.engine.types.Request`."""

    model: str
    options: Options
    vad: VadOptions
    raw: RawFormat | None = None
    precision: Precision | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why it failed, as an error object has it."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is yet to be accepted.

    Attributes:
        digest: of all that was sent, so that what comes again under the same key can be told from something else.
        key: the client's Idempotency-Key.
        response_format: of the result, unless it is asked for in another.
    """

    id: str
    client: str
    brief: Brief
    response_format: str
    digest: str
    size_bytes: int
    key: str | None = None
    webhook_url: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job that was accepted.

    Attributes:
        variant: that recognises it, from the first window on; with `build` it says which windows go together.
        build: of the variant's files and of Wren.
        windows: how many there are; None until it was heard.
        done: of them, those that are recognised and kept.
        attempts: how often it was begun since it last got on.
        expires_s: when it is forgotten; None until it has ended.
        hook_attempts: how often the webhook was tried.
    """

    id: str
    client: str
    state: State
    brief: Brief
    response_format: str
    digest: str
    created_s: float
    started_s: float | None
    ended_s: float | None
    expires_s: float | None
    variant: str | None
    build: str | None
    windows: int | None
    done: int
    duration_s: float | None
    languages: tuple[Language, ...]
    attempts: int
    error: JobError | None
    webhook_url: str | None
    hook_state: HookState
    hook_attempts: int


class JobObserver(Protocol):
    """Told of what becomes of jobs, on the event loop."""

    def job_ended(self, end: End, *, client: str, variant: str | None = None, audio_s: float | None = None) -> None: ...

    def window_kept(self) -> None: ...

    def jobs_counted(self, *, queued: int, running: int) -> None: ...

    def webhook_tried(self, outcome: Tried) -> None: ...
