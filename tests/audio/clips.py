"""Real speech in every container that the tests need, encoded on the spot by FFmpeg and libsndfile."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO

import av
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Waveform = npt.NDArray[np.float32]


@cache
def speech(seconds: float = 2.0, *, rate: int = 16_000) -> Waveform:
    """`counting.wav` from its first word on: float32, mono."""
    data = (files("pytest_audioeval") / "samples/audio/en/counting.wav").read_bytes()
    samples, source_rate = soundfile.read(BytesIO(data), dtype="float32")
    resampled = soxr.resample(samples, source_rate, rate)
    clip: Waveform = np.ascontiguousarray(resampled[rate // 2 :][: int(seconds * rate)])
    clip.setflags(write=False)
    return clip


def spread(mono: Waveform, channels: int) -> Waveform:
    """The same signal in every channel, [frames, channels]."""
    return np.repeat(mono[:, None], channels, axis=1)


@dataclass(frozen=True)
class Recipe:
    """How to make a clip: FFmpeg's names."""

    muxer: str
    codec: str
    rate: int = 16_000
    channels: int = 1
    sample_format: str | None = None
    bit_rate: int | None = None
    options: tuple[tuple[str, str], ...] = ()


def encode(recipe: Recipe, seconds: float = 2.0) -> bytes:
    file = BytesIO()
    encode_into(file, recipe, seconds)
    return file.getvalue()


def encode_into(file: BytesIO | str, recipe: Recipe, seconds: float = 2.0) -> None:
    values = spread(speech(seconds, rate=recipe.rate), recipe.channels)
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1", 16: "hexadecagonal"}[recipe.channels]
    with av.open(file, "w", format=recipe.muxer, options=dict(recipe.options)) as media:
        stream = media.add_stream(recipe.codec, rate=recipe.rate)
        stream.layout = layout
        if recipe.sample_format:
            stream.format = recipe.sample_format
        if recipe.bit_rate:
            stream.bit_rate = recipe.bit_rate
        frame = av.AudioFrame.from_ndarray(values.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts = recipe.rate, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            media.mux(packet)


def by_sndfile(format_: str, subtype: str, *, rate: int = 16_000, channels: int = 1, seconds: float = 2.0) -> bytes:
    file = BytesIO()
    values = spread(speech(seconds, rate=rate), channels)
    soundfile.write(file, values, rate, format=format_, subtype=subtype)
    return file.getvalue()


def film(seconds: float = 1.0, *, sound: bool = True) -> bytes:
    """An mp4 with moving pictures, and speech unless told otherwise."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as media:
        video = media.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = media.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for index in range(int(seconds * 10)):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * 20 % 256, np.uint8), format="rgb24")
            media.mux(video.encode(picture))
        media.mux(video.encode(None))
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(speech(seconds).reshape(1, -1), format="flt", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            media.mux(audio.encode(frame))
            media.mux(audio.encode(None))
    return file.getvalue()


def film_of_odd_channels(seconds: float = 1.0) -> bytes:
    """A QuickTime film whose six channels are labelled left, left, right, right, centre, centre."""
    data = bytearray(encode(Recipe("mov", "pcm_s16le", channels=6), seconds))
    labels = b"".join(struct.pack(">I16x", label) for label in (1, 1, 2, 2, 3, 3))
    layout = struct.pack(">I4sIIII", 24 + len(labels), b"chan", 0, 0, 0, 6) + labels
    start = data.index(b"chan") - 4
    old_size = int.from_bytes(data[start : start + 4], "big")
    boxes = [data.index(name) - 4 for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")]
    for box in [*boxes, data.index(b"stsd") + 12]:  # the last is the entry of the codec
        size = int.from_bytes(data[box : box + 4], "big") + len(layout) - old_size
        data[box : box + 4] = size.to_bytes(4, "big")
    data[start : start + old_size] = layout
    return bytes(data)


def wav(
    data: bytes,
    *,
    data_bytes: int | None = None,
    riff_bytes: int | None = None,
    rate: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    tag: int = 1,
) -> bytes:
    """A wav byte by byte, so that its header can lie."""
    frame = channels * bits // 8
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, bits)
    sizes = (36 + len(data) if riff_bytes is None else riff_bytes, len(data) if data_bytes is None else data_bytes)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", sizes[0], b"WAVE", b"fmt ", 16)
        + head
        + struct.pack("<4sI", b"data", sizes[1])
        + data
    )


def pcm16(samples: Waveform) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def amr_wb(seconds: float = 1.0) -> bytes:
    """AMR-WB frames of mode 0 with seeded payload: no encoder is at hand, and noise decodes as well as speech."""
    rng = np.random.default_rng(7)
    return b"#!AMR-WB\n" + b"".join(b"\x04" + rng.bytes(17) for _ in range(int(seconds * 50)))


CONTAINERS: dict[str, Callable[[float], bytes]] = {
    "wav": lambda s: by_sndfile("WAV", "PCM_16", seconds=s),
    "wav float": lambda s: by_sndfile("WAVEX", "FLOAT", channels=2, seconds=s),
    "wav mulaw": lambda s: by_sndfile("WAV", "ULAW", rate=8_000, seconds=s),
    "wav adpcm": lambda s: encode(Recipe("wav", "adpcm_ima_wav"), s),
    "wav adpcm ms": lambda s: encode(Recipe("wav", "adpcm_ms"), s),
    "rf64": lambda s: by_sndfile("RF64", "PCM_16", seconds=s),
    "flac": lambda s: by_sndfile("FLAC", "PCM_16", seconds=s),
    "mp3": lambda s: encode(Recipe("mp3", "libmp3lame", rate=44_100, channels=2), s),
    "ogg opus": lambda s: encode(Recipe("ogg", "libopus", rate=48_000), s),
    "ogg vorbis": lambda s: by_sndfile("OGG", "VORBIS", seconds=s),
    "ogg flac": lambda s: encode(Recipe("ogg", "flac"), s),
    "webm opus": lambda s: encode(LIVE_WEBM, s),
    "m4a": lambda s: encode(Recipe("ipod", "aac"), s),
    "m4a alac": lambda s: encode(Recipe("ipod", "alac"), s),
    "mp4 film": film,
    "mov of odd channels": film_of_odd_channels,
    "mp4 in fragments": lambda s: encode(FRAGMENTS, s),
    "aac": lambda s: encode(Recipe("adts", "aac"), s),
    "aiff": lambda s: by_sndfile("AIFF", "PCM_16", seconds=s),
    "amr": lambda s: encode(Recipe("amr", "libopencore_amrnb", rate=8_000, bit_rate=12_200), s),
    "amr wb": amr_wb,
    "wma": lambda s: encode(WMA, s),
    "caf": lambda s: by_sndfile("CAF", "PCM_16", seconds=s),
    "w64": lambda s: by_sndfile("W64", "PCM_16", seconds=s),
    "au": lambda s: by_sndfile("AU", "PCM_16", seconds=s),
    "matroska": lambda s: encode(Recipe("matroska", "libopus", rate=48_000), s),
    "mpegts": lambda s: encode(Recipe("mpegts", "aac"), s),
    "wavpack": lambda s: encode(Recipe("wv", "wavpack", sample_format="s16p"), s),
    "wavpack of 16 channels": lambda s: encode(Recipe("wv", "wavpack", channels=16, sample_format="s16p"), s),
    "tta": lambda s: encode(Recipe("tta", "tta", sample_format="s16"), s),
    "ac3": lambda s: encode(Recipe("ac3", "ac3", rate=48_000), s),
    "avi": lambda s: encode(Recipe("avi", "libmp3lame", rate=44_100), s),
}
"""Every container of the issue, and more, by name: how to make one of some seconds."""

LIVE_WEBM = Recipe("webm", "libopus", rate=48_000, options=(("live", "1"),))
"""As a browser's MediaRecorder writes: clusters of unknown size, no duration, no cues."""

FRAGMENTS = Recipe("mp4", "aac", options=(("movflags", "frag_every_frame+empty_moov+default_base_moof"),))

WMA = Recipe("asf", "wmav2", rate=44_100, bit_rate=64_000)
