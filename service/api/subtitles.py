"""Segments in, SubRip (srt) and WebVTT text out. Pure.

Written here because no subtitle package renders both forms as the OpenAI service does (cues without numbers in WebVTT).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from service.recognition.types import Segment, Word

MAX_CUE_CHARACTERS = 84
"""Two lines of 42, what broadcasters allow on a screen."""


@dataclass(frozen=True, slots=True)
class Cue:
    """Text on the screen for a while."""

    start_ms: int
    end_ms: int
    text: str


def cues(segments: Iterable[Segment]) -> Iterator[Cue]:
    """One a segment; a long segment is cut between words where their times are known."""
    for segment in segments:
        text = _one_line(segment.text)
        if not text:
            continue
        if len(text) <= MAX_CUE_CHARACTERS or not segment.words:
            yield _cue(segment.start_s, segment.end_s, text)
            continue
        for line in _lines(segment.words):
            yield _cue(line[0].start_s, line[-1].end_s, _one_line("".join(word.text for word in line)))


def srt(segments: Iterable[Segment]) -> str:
    return "".join(
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{cue.text}\n\n"
        for number, cue in enumerate(cues(segments), 1)
    )


def vtt(segments: Iterable[Segment]) -> str:
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{_escaped(cue.text)}\n\n" for cue in cues(segments)
    )


def _lines(words: Iterable[Word]) -> Iterator[list[Word]]:
    line: list[Word] = []
    length = 0
    for word in words:
        if line and length + len(word.text) > MAX_CUE_CHARACTERS:
            yield line
            line, length = [], 0
        line.append(word)
        length += len(word.text)
    if line:
        yield line


def _cue(start_s: float, end_s: float, text: str) -> Cue:
    # Players drop a cue that does not last.
    start_ms = max(0, round(start_s * 1000))
    return Cue(start_ms, max(start_ms + 1, round(end_s * 1000)), text)


def _one_line(text: str) -> str:
    """An empty line would end the cue."""
    return " ".join(text.split())


def _escaped(text: str) -> str:
    """WebVTT reads tags and entities (W3C WebVTT, 4.2.2)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(time_ms: int, point: str) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"
