"""A file in, the seconds its header promises out: enough for a progress bar, never to be relied on."""

from pathlib import Path
from typing import BinaryIO

import av
import soundfile

from service.audio.sniff import sniff
from service.errors import AudioError


def promised_duration_s(path: Path) -> float | None:
    """None where the header does not say (streams, most damaged files)."""
    try:
        return float(soundfile.info(str(path)).duration) or None
    except (soundfile.SoundFileError, OSError):
        pass
    try:
        with path.open("rb") as file:
            return _by_container(file)
    except (AudioError, av.FFmpegError, OSError, ValueError):
        return None


def _by_container(file: BinaryIO) -> float | None:
    kind = sniff(file)
    if kind.demuxer is None:
        return None
    with av.open(file, "r", format=kind.demuxer, options={"protocol_whitelist": "none"}) as media:
        return None if media.duration is None else media.duration / av.time_base
