"""What decodes audio here: versions, and the codecs that a build may lack."""

from dataclasses import dataclass

import av
import soundfile

EXPECTED = ("aac", "alac", "amrnb", "amrwb", "flac", "mp3", "opus", "pcm_mulaw", "vorbis", "wmav2")


@dataclass(frozen=True, slots=True)
class Libraries:
    """`missing` are codecs that FFmpeg was built without."""

    ffmpeg: str
    libsndfile: str
    missing: tuple[str, ...]


def decoding_libraries() -> Libraries:
    version = ".".join(str(part) for part in av.library_versions["libavcodec"])
    missing = tuple(name for name in EXPECTED if name not in av.codecs_available)
    return Libraries(f"libavcodec {version} (PyAV {av.__version__})", soundfile.__libsndfile_version__, missing)
