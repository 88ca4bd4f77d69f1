"""A file in, the seconds its header promises out: enough for a progress bar, never to be relied on."""

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import soundfile

from service.audio.sniff import sniff
from service.errors import AudioError


def headed_duration_s(audio: bytes | Path) -> float | None:
    """By libsndfile alone: wav, flac, mp3 and ogg; None for all else. Quick, and safe with what strangers send."""
    try:
        return float(soundfile.info(str(audio) if isinstance(audio, Path) else BytesIO(audio)).duration) or None
    except (soundfile.SoundFileError, OSError):
        return None


def promised_duration_s(path: Path) -> float | None:
    """None where the header does not say (streams, most damaged files)."""
    headed_s = headed_duration_s(path)
    return _by_container(path) if headed_s is None else headed_s


def _by_container(path: Path) -> float | None:
    import av  # noqa: PLC0415 - 15 MiB that few need

    try:
        with path.open("rb") as file:
            return _of_media(file)
    except (AudioError, av.FFmpegError, OSError, ValueError):
        return None


def _of_media(file: BinaryIO) -> float | None:
    import av  # noqa: PLC0415 - as above

    kind = sniff(file)
    if kind.demuxer is None:
        return None
    with av.open(file, "r", format=kind.demuxer, options={"protocol_whitelist": "none"}) as media:
        return None if media.duration is None else media.duration / av.time_base
