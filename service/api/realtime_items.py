"""What happens on a stream in, the events of the Realtime protocol out. Pure but for the ids, which are new each time.

An item is a turn of the speaker: what was said until a pause, a commit or the end, in one or more finals. Nothing that
was sent of it is taken back: the transcript that completes it is the sum of its deltas.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from service.api.errors import INVALID_REQUEST, ErrorDetail, failure_of
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

CLEARED = ErrorDetail(
    message="The audio was cleared before it was transcribed.", type=INVALID_REQUEST, code="input_audio_buffer_cleared"
)


@dataclass(slots=True)
class _Turn:
    """An item in the making.

    Attributes:
        start_s: where it began on the stream.
        stopped, committed: whether that was told.
        sent: the sum of its deltas,
        of_segment: the part of it that belongs to the segment that is open.
        segments: of its finals so far, which last `seconds`.
        failure: of the first of them that failed.
    """

    start_s: float
    id: str = field(default_factory=lambda: new_id("item"))
    stopped: bool = False
    committed: bool = False
    sent: str = ""
    of_segment: str = ""
    seconds: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    failure: WrenError | None = None


class Items:
    """The items of one session.

    Attributes:
        older: whether the client speaks the older dialect.
        detected: whether the speaker's turns are looked for; if not, nothing is told of speech.
        logprobs: whether the tokens' log-probabilities are told.
    """

    def __init__(self, *, older: bool = False, detected: bool = True, logprobs: bool = False) -> None:
        self.older, self.detected, self.logprobs = older, detected, logprobs
        self._turns: list[_Turn] = []
        self._last_id: str | None = None
        self._final_s = 0.0

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
                yield from self._cleared(event)

    def _started(self, event: SpeechStarted) -> Iterator[ServerEvent]:
        # One that was not stopped was opened without this event: what was said before it is of the same item.
        turn = self._unstopped() or self._opened(event.at_s)
        yield SpeechStartedEvent(audio_start_ms=_ms(event.at_s), item_id=turn.id)

    def _stopped(self, event: SpeechStopped) -> Iterator[ServerEvent]:
        turn = self._unstopped()
        if turn is None and event.at_s <= self._final_s:
            return  # of a turn that a commit has ended
        turn = turn or self._opened(self._final_s)
        turn.stopped = True
        yield SpeechStoppedEvent(audio_end_ms=_ms(event.at_s), item_id=turn.id)
        yield from self._committed(turn)

    def _understood(self, event: Interim) -> Iterator[ServerEvent]:
        within = [turn for turn in self._turns if turn.start_s < event.end_s]
        # The next turn may have begun while the final of the last is on its way.
        later = event.start_s > self._final_s
        turn = (within[-1] if later else within[0]) if within else None
        if turn is None and event.settled:
            turn = self._opened(event.start_s)
        if turn is not None and event.settled.startswith(turn.of_segment):
            yield from self._appended(turn, event.settled[len(turn.of_segment) :], event.segments)

    def _heard(self, event: Final) -> Iterator[ServerEvent]:
        self._final_s = event.end_s
        turn = next((turn for turn in self._turns if turn.start_s < event.end_s), None)
        if turn is None and (event.text or event.failure or event.cut == "asked"):
            turn = self._opened(event.start_s)
        if turn is None:
            return  # silence
        turn.seconds += event.end_s - event.start_s
        turn.segments += event.segments
        turn.failure = turn.failure or event.failure
        ends = event.cut != "length"
        if ends:
            yield from self._committed(turn)
        yield from self._appended(turn, continued(turn.of_segment, event.text), event.segments)
        turn.of_segment = ""
        if ends:
            self._turns.remove(turn)
            yield self._ended(turn)

    def _cleared(self, event: Cleared) -> Iterator[ServerEvent]:
        """What was committed is owed an end; of the rest nothing more is said."""
        self._final_s = event.at_s
        gone = [turn for turn in self._turns if turn.start_s < event.at_s]
        self._turns = [turn for turn in self._turns if turn.start_s >= event.at_s]
        for turn in gone:
            if turn.committed:
                yield Failed(item_id=turn.id, error=CLEARED)
        yield ClearedEvent()

    def _opened(self, start_s: float) -> _Turn:
        turn = _Turn(start_s)
        self._turns.append(turn)
        return turn

    def _unstopped(self) -> _Turn | None:
        return next((turn for turn in self._turns if not turn.stopped), None)

    def _appended(self, turn: _Turn, text: str, segments: tuple[Segment, ...]) -> Iterator[ServerEvent]:
        if not text:
            return
        first = not turn.of_segment
        turn.of_segment += text
        delta = f"{_between(segments)}{text}" if first and turn.sent else text
        turn.sent += delta
        yield Delta(item_id=turn.id, delta=delta)

    def _committed(self, turn: _Turn) -> Iterator[ServerEvent]:
        if turn.committed:
            return
        turn.committed = True
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
            transcript=turn.sent,
            usage=Seconds(seconds=round(turn.seconds, 3)),
            logprobs=token_logprobs(turn.segments) if self.logprobs else None,
        )


def _between(segments: tuple[Segment, ...]) -> str:
    """What parts a text from the one before it: a space, in the scripts that have one."""
    return " " if segments and segments[0].text.startswith(" ") else ""


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
