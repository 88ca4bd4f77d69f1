"""Everything that can go wrong with a request, as one tree; `api` alone maps it to status codes.

WrenError
├── AudioError (ValueError)         the audio cannot be used
│   ├── EmptyAudio                  no bytes, or a header without a sample
│   ├── UndecodableAudio            the container or codec is unknown, damaged or cut off before any sample
│   ├── NoAudioStream               a container that holds no audio
│   ├── AudioTooLong                longer than the limit
│   └── UploadTooLarge              more bytes than the limit
├── OptionError (ValueError)        a request option is invalid, unknown or not possible with this model
├── ModelNotFound (LookupError)     no such model or variant in the store
├── ModelUnavailable (RuntimeError) it is there and cannot be loaded
│   └── DeviceUnavailable           a GPU that was asked for is not there, or does not compute
├── NothingFits (RuntimeError)      no variant of it fits the budget that was set
│   └── NoRoom                      memory is taken by variants that are in use
├── Overloaded (RuntimeError)       too much audio is waiting, or too many live streams are open
├── DeadlineExceeded (TimeoutError) the answer was not ready in time
├── JobNotFound (LookupError)       no such job, or somebody else's
├── JobConflict (RuntimeError)      it does not go with the state that the job is in
├── JobsFull (RuntimeError)         too many jobs are waiting, or too large ones
├── JobsUnavailable (RuntimeError)  jobs are off, or where they are kept cannot be used
└── RecognitionFailed (RuntimeError) the model failed on this recording
"""

import math
from typing import Literal


class WrenError(Exception):
    """The root: its message is fit for a client."""


class AudioError(WrenError, ValueError):
    """The audio cannot be used."""


class EmptyAudio(AudioError):
    """The upload holds no bytes, or a header without a sample."""

    def __init__(self, what: str = "the file is empty (0 bytes)") -> None:
        super().__init__(f"No audio: {what}. Send a recording that holds samples.")


class UndecodableAudio(AudioError):
    """The container or codec is unknown, damaged, or cut off before the first sample."""

    def __init__(self, *, container: str, codec: str, reason: str) -> None:
        self.container, self.codec, self.reason = container, codec, reason
        super().__init__(
            f"Cannot decode this audio: container {container}, codec {codec}: {reason}. "
            "Send wav, flac, mp3, ogg, webm, m4a, aac, aiff, amr or wma."
        )


class NoAudioStream(AudioError):
    """The container is fine and holds no audio."""

    def __init__(self, *, container: str) -> None:
        self.container = container
        super().__init__(f"The file (container {container}) holds no audio stream.")


class AudioTooLong(AudioError):
    """The audio lasts longer than the server's limit."""

    def __init__(self, *, limit_s: float, setting: str = "WREN_MAX_DURATION_S") -> None:
        self.limit_s = limit_s
        super().__init__(f"The audio is longer than the limit of {limit_s:g} s ({setting}). Send it in parts.")


class UploadTooLarge(AudioError):
    """The upload holds more bytes than the server's limit."""

    def __init__(self, *, limit_bytes: int, setting: str = "WREN_MAX_UPLOAD_MIB") -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"The upload is larger than the limit of {limit_bytes / 2**20:g} MiB ({setting}).")


class OptionError(WrenError, ValueError):
    """A request option is invalid, unknown, or not possible with this model."""

    def __init__(self, message: str, *, param: str) -> None:
        self.param = param
        super().__init__(message)


class ModelNotFound(WrenError, LookupError):
    """No such model or variant in the store."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name, self.known = name, known
        super().__init__(f"There is no model {name!r} here. Available: {', '.join(known) or 'none'}.")


class ModelUnavailable(WrenError, RuntimeError):
    """The variant is in the store and cannot be loaded."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason.rstrip(".")
        super().__init__(f"The model {name!r} cannot be loaded: {self.reason}.")


class DeviceUnavailable(ModelUnavailable):
    """A GPU that somebody asked for is not there, or does not compute; nothing is wrong with the variant."""


class NothingFits(WrenError, RuntimeError):
    """No variant fits the budget that was set; `ways` are the nearest budgets that something would fit."""

    def __init__(self, name: str, *, reasons: tuple[str, ...], ways: tuple[str, ...]) -> None:
        self.name, self.reasons, self.ways = name, reasons, ways
        nearest = f"What would do: {'; or '.join(ways)}" if ways else "No other budget is known to help"
        super().__init__(f"Nothing of {name!r} fits the budget. {nearest}. Ruled out: {'; '.join(reasons)}.")


class NoRoom(NothingFits):
    """A variant is not loaded, for the memory is taken and nothing in it may go."""

    def __init__(self, name: str, *, reason: str) -> None:
        self.name, self.reasons, self.ways = name, (reason,), ()
        WrenError.__init__(
            self, f"There is no room in memory for {name!r}: {reason}. Unload another, or allow more memory."
        )


class Overloaded(WrenError, RuntimeError):
    """Too much audio is waiting already, or too many live streams are open."""

    def __init__(
        self,
        reason: str = "too much audio is waiting",
        *,
        retry_after_s: float,
        cause: Literal["queue", "deadline", "streams"] = "queue",
    ) -> None:
        self.reason, self.cause, self.retry_after_s = reason, cause, max(1, math.ceil(retry_after_s))
        super().__init__(f"The server is busy: {reason}. Try again in {self.retry_after_s} s.")


class DeadlineExceeded(WrenError, TimeoutError):
    """The time that the client gave, or that the engine allows for so much audio, is over."""

    def __init__(self, *, budget_s: float, asked: bool) -> None:
        self.budget_s, self.asked = budget_s, asked
        whose = "the deadline_s of the request" if asked else "the server's limit for a recording of this length"
        advice = "Allow more time" if asked else "Try again later"
        super().__init__(f"The transcript is not to be had within {budget_s:.3g} s ({whose}). {advice}.")


class RecognitionFailed(WrenError, RuntimeError):
    """The model failed on a window of this recording; others go on."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The model failed on this recording: {reason}.")


class JobNotFound(WrenError, LookupError):
    """There is no such job, or it is somebody else's."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id[:64]!r} here. Jobs are forgotten some time after they have ended.")


class JobConflict(WrenError, RuntimeError):
    """What is asked does not go with the state of the job; `code` says how, for programs."""

    def __init__(
        self, message: str, *, code: Literal["job_not_finished", "job_failed", "job_cancelled", "idempotency_conflict"]
    ) -> None:
        self.code = code
        super().__init__(message)


class JobsFull(WrenError, RuntimeError):
    """As many jobs are waiting, or as many bytes of them, as are allowed."""

    def __init__(self, reason: str, *, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"No more jobs are taken: {reason}. Try again in {retry_after_s} s.")


class JobsUnavailable(WrenError, RuntimeError):
    """Jobs are off here, or where they are kept cannot be used now."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Jobs are not to be had here: {reason}.")
