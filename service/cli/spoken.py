"""What happens on a live stream in, lines of text or JSON out. Pure."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel
from rich.text import Text

from service.engine.streaming import Cleared, Final, Interim, SpeechStarted, SpeechStopped, StreamEvent, UtteranceEnded
from service.recognition.agreement import continued
from service.recognition.types import Segment


class SpokenWord(BaseModel):
    """A word and when it was said, in seconds of the stream."""

    word: str
    start: float
    end: float
    confidence: float


class Spoken(BaseModel):
    """Something that happened, of which it says what there is to say.

    Attributes:
        settled: how the text of an interim result begins for good.
        error: why a final has no text.
    """

    type: Literal["speech_started", "speech_stopped", "interim", "final", "utterance_ended", "cleared"]
    start: float
    end: float
    text: str | None = None
    settled: str | None = None
    words: tuple[SpokenWord, ...] | None = None
    error: str | None = None


def spoken(event: StreamEvent) -> Spoken:
    """An event of the engine as it is shown."""
    match event:
        case Interim(start_s, end_s, segments, settled):
            return Spoken(
                type="interim", start=start_s, end=end_s, text=event.text, settled=settled, words=_words(segments)
            )
        case Final(start_s, end_s, segments, failure=failure):
            error = None if failure is None else str(failure)
            return Spoken(type="final", start=start_s, end=end_s, text=event.text, words=_words(segments), error=error)
        case SpeechStarted(at_s):
            return Spoken(type="speech_started", start=at_s, end=at_s)
        case SpeechStopped(at_s):
            return Spoken(type="speech_stopped", start=at_s, end=at_s)
        case UtteranceEnded(at_s):
            return Spoken(type="utterance_ended", start=at_s, end=at_s)
        case Cleared(at_s):
            return Spoken(type="cleared", start=at_s, end=at_s)


def line_of(final: Spoken, *, times: bool) -> str:
    """A final as plain text."""
    return f"[{final.start:.2f}-{final.end:.2f}] {final.text}" if times else final.text or ""


def preview(interim: Spoken, *, width: int) -> Text:
    """The end of what was understood so far, which is what is new, in one line; what may still change is dim."""
    settled = interim.settled or ""
    shown = Text(settled).append(continued(settled, interim.text or ""), style="dim")
    while shown.cell_len > width:
        shown = shown[1:]
    return shown


def _words(segments: Sequence[Segment]) -> tuple[SpokenWord, ...] | None:
    """None where nobody asked for them."""
    words = [word for segment in segments for word in segment.words]
    return (
        tuple(
            SpokenWord(word=word.text.strip(), start=word.start_s, end=word.end_s, confidence=word.confidence)
            for word in words
        )
        or None
    )
