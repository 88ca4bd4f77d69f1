"""The seam of live streams: audio in while it is spoken; what is said, and when, out.

Times are seconds of the stream's own audio, from its first sample, whatever the clock on the wall says: a file that is
sent faster than it plays gives the very same finals. The finals of a stream lie end to end and cover all of it.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from model_store.manifest import Manifest, Precision
from service.audio.endpoint import Cut
from service.audio.types import RawFormat, VadOptions
from service.errors import WrenError
from service.recognition.types import Language, Options, Segment


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """How a stream is to be heard.

    Attributes:
        model, options, precision, client: as in `service.engine.types.Request`.
        raw: the layout of audio without a header; None for a container, which is told by its first bytes.
        vad: what counts as speech; `silence_duration_ms` of silence end a turn.
        turns: whether a pause ends a turn. If not, segments end where they must (`Final.cut`), or when it is asked for.
        interims: whether text is wanted before it is final.
        utterance_gap_s: seconds without a word after which `UtteranceEnded` is told; None for never.
    """

    model: str = "auto"
    options: Options = field(default_factory=Options)
    raw: RawFormat | None = None
    vad: VadOptions = field(default_factory=VadOptions)
    turns: bool = True
    interims: bool = True
    utterance_gap_s: float | None = None
    client: str = ""
    precision: Precision | None = None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody began to speak at `at_s`."""

    at_s: float


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The speaker fell silent at `at_s`, as is known now that the pause is long enough. The final is on its way."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Interim:
    """What has been understood so far of the open segment; the next one, or the final, takes its place.

    Attributes:
        start_s, end_s: the part of the stream that it covers.
        segments: the text with its words.
        settled: how the text of the segment is taken to begin in the end; it never shrinks within a segment. What one
            interim result has may begin otherwise.
        manifest: of the variant that heard it.
    """

    start_s: float
    end_s: float
    segments: tuple[Segment, ...]
    settled: str
    manifest: Manifest

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


@dataclass(frozen=True, slots=True)
class Final:
    """What was said from `start_s` to `end_s`, for good. It begins where the last one ended.

    Attributes:
        segments: nothing where nobody spoke.
        languages: most probable first; empty where nobody spoke.
        cut: why it ends there; "length" is in the middle of a turn.
        manifest: of the variant that heard it; None where nobody spoke.
        lag_s: seconds on the wall from the arrival of its last audio until now.
        failure: why it could not be recognised; the stream goes on.
        stage_ms: milliseconds a stage, as of a recording; empty where nobody spoke.
    """

    start_s: float
    end_s: float
    segments: tuple[Segment, ...]
    cut: Cut
    languages: tuple[Language, ...] = ()
    manifest: Manifest | None = None
    lag_s: float = 0.0
    failure: WrenError | None = None
    stage_ms: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """`utterance_gap_s` went by without a word; the last one had ended at `last_word_s`. Told once a gap."""

    last_word_s: float


@dataclass(frozen=True, slots=True)
class Cleared:
    """What had been sent and was not final is forgotten, up to `at_s`: no final covers it."""

    at_s: float


StreamEvent = SpeechStarted | SpeechStopped | Interim | Final | UtteranceEnded | Cleared


class Stream(Protocol):
    """A live stream, for the event loop. What is asked of it takes effect where it is among the audio.

    Whatever is asked waits while much is unheard, or what was told is not taken.

    Raises:
        WrenError: from `events`, when the audio cannot be decoded; the stream is over then.
    """

    async def feed(self, audio: bytes) -> None:
        """Take more audio, in pieces of any size."""
        ...

    async def commit(self) -> None:
        """Ask for the end of the segment here: a `Final` of cut "asked" comes in any case, if only to say nothing."""
        ...

    async def clear(self) -> None:
        """Forget what is not final; answered by `Cleared`."""
        ...

    async def finish(self) -> None:
        """No more audio comes; the last event is a `Final` of cut "end", and then `events` ends."""
        ...

    async def configure(self, request: StreamRequest) -> None:
        """Be heard in another way from here on.

        Raises:
            OptionError: once there was audio, another model or another layout; or what the model cannot do.
            ModelNotFound, ModelUnavailable, NothingFits: as for a recording; all is as before.
        """
        ...

    def events(self) -> AsyncIterator[StreamEvent]:
        """What happens, as it happens, in the order of the audio. To be asked for once.

        The final of a turn comes right behind its `SpeechStopped`, and before anything of the next turn.
        """
        ...
