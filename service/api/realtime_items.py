"""What happens on a stream in, the events of the Realtime protocol out. Pure but for the ids, which are new each time.

An item is a turn of the speaker: what was said until a pause, a commit or the end, in one or more finals. Nothing that
was sent of it is taken back: the transcript that completes it is the sum of its deltas.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from service.api.errors import failure_of
from service.api.formats import token_logprobs
from service.api.realtime_told import (
    ClearedEvent,
    Committed,
    Completed,
    Delta,
    Failed,
    Item,
    ItemEvent,
    Seconds,
    ServerEvent,
    SpeechStartedEvent,
    SpeechStoppedEvent,
    new_id,
)
from service.engine.streaming import Cleared, Final, Interim, SpeechStarted, SpeechStopped, StreamEvent
from service.errors import WrenError
from service.recognition.agreement import continued
from service.recognition.types import Segment


@dataclass(slots=True)
class _Turn:
    """An item in the making.

    Attributes:
        announced: whether the client knows of it; until then it is sent no text.
        committed: whether that was told.
        text: how its transcript begins, for good,
        of_segment: the part of it that belongs to the segment that is open,
        sent: and how many of its characters were.
        segments: of its finals so far, which last `seconds`.
        failure: of the first of them that failed.
    """

    id: str = field(default_factory=lambda: new_id("item"))
    announced: bool = False
    committed: bool = False
    text: str = ""
    of_segment: str = ""
    sent: int = 0
    seconds: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    failure: WrenError | None = None

    def append(self, text: str, segments: tuple[Segment, ...]) -> None:
        """More of the open segment's text, of which these are its segments."""
        if text and self.text and not self.of_segment:
            self.text += _between(segments)
        self.of_segment += text
        self.text += text


class Items:
    """The items of one session.

    Attributes:
        older: whether the client speaks the older dialect.
        detected: whether the speaker's turns are looked for; if not, nothing is told of speech.
        logprobs: whether the tokens' log-probabilities are told.
    """

    def __init__(self, *, older: bool = False, detected: bool = True, logprobs: bool = False) -> None:
        self.older, self.detected, self.logprobs = older, detected, logprobs
        self._turn: _Turn | None = None
        self._last_id: str | None = None

    def told(self, event: StreamEvent) -> Iterator[ServerEvent]:
        """What the client is told of it."""
        match event:
            case SpeechStarted() if self.detected:
                yield from self._started(event)
            case SpeechStopped() if self.detected:
                yield from self._stopped(event)
            case Interim():
                yield from self._understood(event)
            case Final():
                yield from self._heard(event)
            case Cleared():
                self._turn = None
                yield ClearedEvent()

    def _started(self, event: SpeechStarted) -> Iterator[ServerEvent]:
        turn = self._opened()
        turn.announced = True
        yield SpeechStartedEvent(audio_start_ms=_ms(event.at_s), item_id=turn.id)
        yield from self._sent(turn)

    def _stopped(self, event: SpeechStopped) -> Iterator[ServerEvent]:
        turn = self._turn
        if turn is None or not turn.announced:
            return  # it began while turns were not looked for
        yield SpeechStoppedEvent(audio_end_ms=_ms(event.at_s), item_id=turn.id)
        yield from self._committed(turn)

    def _understood(self, event: Interim) -> Iterator[ServerEvent]:
        turn = self._turn
        if turn is not None and turn.announced and event.settled.startswith(turn.of_segment):
            turn.append(event.settled[len(turn.of_segment) :], event.segments)
            yield from self._sent(turn)

    def _heard(self, event: Final) -> Iterator[ServerEvent]:
        if self._turn is None and not (event.text or event.failure or event.cut == "asked"):
            return  # silence
        turn = self._opened()
        turn.seconds += event.end_s - event.start_s
        turn.segments += event.segments
        turn.failure = turn.failure or event.failure
        turn.append(continued(turn.of_segment, event.text), event.segments)
        turn.of_segment = ""
        if event.cut != "length" and not turn.committed:
            yield from self._committed(turn)
        yield from self._sent(turn)
        if turn.committed:
            self._turn = None
            yield self._ended(turn)

    def _opened(self) -> _Turn:
        """The turn that is open: a new one if none was."""
        if self._turn is None:
            self._turn = _Turn()
        return self._turn

    def _sent(self, turn: _Turn) -> Iterator[ServerEvent]:
        delta = turn.text[turn.sent :]
        if delta and turn.announced:
            turn.sent = len(turn.text)
            yield Delta(item_id=turn.id, delta=delta)

    def _committed(self, turn: _Turn) -> Iterator[ServerEvent]:
        turn.announced = turn.committed = True
        before, self._last_id = self._last_id, turn.id
        yield Committed(item_id=turn.id, previous_item_id=before)
        item = Item(id=turn.id)
        if self.older:
            yield ItemEvent(type="conversation.item.created", previous_item_id=before, item=item)
        else:
            yield ItemEvent(type="conversation.item.added", previous_item_id=before, item=item)
            yield ItemEvent(type="conversation.item.done", previous_item_id=before, item=item)

    def _ended(self, turn: _Turn) -> ServerEvent:
        if turn.failure is not None:
            return Failed(item_id=turn.id, error=failure_of(turn.failure).detail)
        return Completed(
            item_id=turn.id,
            transcript=turn.text,
            usage=Seconds(seconds=round(turn.seconds, 3)),
            logprobs=token_logprobs(turn.segments) if self.logprobs else None,
        )


def _between(segments: tuple[Segment, ...]) -> str:
    """What parts a text from the one before it: a space, in the scripts that have one."""
    return " " if segments and segments[0].text.startswith(" ") else ""


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
