"""What a Realtime client appended in, whether there is something to commit out. Pure."""

from service.audio.headerless import frame_bytes
from service.audio.types import RawFormat
from service.engine.streaming import Final

MIN_COMMIT_S = 0.1
"""As OpenAI has it. A turn's end is heard some milliseconds later than its audio came: no item is made of these."""


class Appended:
    """The audio of one session."""

    def __init__(self) -> None:
        self._came_s = self._taken_s = 0.0

    @property
    def enough(self) -> bool:
        """Whether there is an item in what came since the last turn, commit or clear."""
        # Rounded, for sums of floats are not quite what was sent.
        return round(self._came_s - self._taken_s, 6) >= MIN_COMMIT_S

    def add(self, audio: bytes, raw: RawFormat) -> None:
        self._came_s += len(audio) / (frame_bytes(raw) * raw.sample_rate)

    def take(self) -> None:
        """All of it is committed, or cleared."""
        self._taken_s = self._came_s

    def heard(self, final: Final) -> None:
        """A turn that ended took what was before its end."""
        if final.cut != "length":
            self._taken_s = max(self._taken_s, final.end_s)
