"""A media file of any container in, blocks of mono samples out, by PyAV (FFmpeg).

FFmpeg reads from our file object only and may open nothing else: no protocol, no demuxer but the sniffed one, no
decoder but those of `_CODECS` (video decoders would also cost time and memory while FFmpeg probes a film).

Damage: packets that do not decode are skipped and the file may end anywhere; whatever decodes is yielded.
The channel layout is taken off the stream before the first frame (`_forget_layout`).
Encoder delay, padding and edit lists are cut as FFmpeg does by default; gaps in timestamps are not filled.
FFmpeg's resampler is not used: in PyAV it leaks.
"""

from collections.abc import Iterable, Iterator

import av
import numpy as np
import numpy.typing as npt
from av.audio.plane import AudioPlane

from service.audio.checkpoint import Checkpoint, always_on
from service.audio.resample import BLOCK_VALUES, Block, downmix, sanitised
from service.audio.sniff import PROBED_DEMUXERS, Container
from service.audio.types import Samples, Source
from service.errors import AudioError, EmptyAudio, NoAudioStream, UndecodableAudio

_IO_BYTES = 2**16

_FAILURES = (av.FFmpegError, ValueError, IndexError)
"""What PyAV raises on damage; IndexError when a stream turns up half-way."""

_CODECS = (
    *("aac", "aac_latm", "ac3", "alac", "amrnb", "amrwb", "ape", "atrac1", "atrac3", "atrac3p", "cook", "dca", "eac3"),
    *(
        "flac",
        "g723_1",
        "g729",
        "gsm",
        "gsm_ms",
        "ilbc",
        "mlp",
        "mp1",
        "mp1float",
        "mp2",
        "mp2float",
        "mp3",
        "mp3float",
    ),
    *("mpc7", "mpc8", "nellymoser", "opus", "qcelp", "qdm2", "qdmc", "ra_144", "ra_288", "shorten", "sipr", "speex"),
    *("tak", "truehd", "tta", "vorbis", "wavpack", "wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice"),
    *(
        "adpcm_g722",
        "adpcm_g726",
        "adpcm_g726le",
        "adpcm_ima_qt",
        "adpcm_ima_wav",
        "adpcm_ms",
        "adpcm_swf",
        "adpcm_yamaha",
    ),
    *("dsd_lsbf", "dsd_lsbf_planar", "dsd_msbf", "dsd_msbf_planar", "mace3", "mace6"),
    *(
        "pcm_alaw",
        "pcm_bluray",
        "pcm_dvd",
        "pcm_f32be",
        "pcm_f32le",
        "pcm_f64be",
        "pcm_f64le",
        "pcm_mulaw",
        "pcm_s16be",
    ),
    *("pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_s8", "pcm_u16be"),
    *("pcm_u16le", "pcm_u24be", "pcm_u24le", "pcm_u32be", "pcm_u32le", "pcm_u8"),
)

_SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}
"""FFmpeg's sample formats, planar or not, as numpy has them. The accepted decoders give no other."""

_OPTIONS = {
    "protocol_whitelist": "none",
    "format_whitelist": ",".join(PROBED_DEMUXERS),
    "codec_whitelist": ",".join(_CODECS),
}


_EAGER = {"probesize": "32", "analyzeduration": "0"}
"""For a live stream of a known container: FFmpeg believes its header, instead of waiting for seconds of it."""


def read_media(
    source: Source, kind: Container, *, checkpoint: Checkpoint = always_on, live: bool = False
) -> Iterator[Block]:
    """Decode the best audio stream. If it is live, each frame is a block, given before the source is asked for more.

    Raises:
        Exception: what the checkpoint raises; it is passed once a packet, for a damaged file may have no block.
        UndecodableAudio: FFmpeg cannot open it, knows no decoder, or fails before the first sample.
        NoAudioStream: there is none.
        EmptyAudio: the file is in order and holds no sample.
    """
    try:
        media = av.open(
            source,
            "r",
            format=kind.demuxer,
            options=_options(kind, live=live),
            metadata_errors="ignore",
            buffer_size=_IO_BYTES,
        )
    except _FAILURES as error:
        raise UndecodableAudio(container=kind.name, codec="unknown", reason=_reason(error)) from error
    with media:
        name = kind.name if kind.demuxer else media.format.name.partition(",")[0]
        stream = media.streams.best("audio")
        if not isinstance(stream, av.AudioStream):
            raise _silent(media, name)
        decoding = _Decoding(media, stream, checkpoint)
        yield from _blocks(decoding, stream, container=name, run_values=1 if live else BLOCK_VALUES)


def _options(kind: Container, *, live: bool) -> dict[str, str]:
    if kind.demuxer is None:
        return _OPTIONS
    return _OPTIONS | {"format_whitelist": kind.demuxer} | (_EAGER if live else {})


def _silent(media: av.container.InputContainer, container: str) -> AudioError:
    if media.streams and not media.streams.audio:
        return NoAudioStream(container=container)
    return UndecodableAudio(container=container, codec="unknown", reason="damaged or cut off before the first sample")


def _blocks(decoding: "_Decoding", stream: av.AudioStream, *, container: str, run_values: int) -> Iterator[Block]:
    # typed as always there; None where FFmpeg knows no decoder
    codec = stream.codec_context.name if stream.codec_context else "unknown"
    if codec not in _CODECS:
        raise UndecodableAudio(container=container, codec=codec, reason="there is no decoder for this codec")
    _forget_layout(stream.codec_context)
    any_block = False
    for frames in _runs(decoding.frames(), run_values):
        any_block = True
        yield Block(_mono(frames), frames[0].sample_rate, frames[0].layout.nb_channels, container, codec)
    if any_block:
        return
    if decoding.error is not None:
        reason = f"no part of it decodes ({_reason(decoding.error)})"
        raise UndecodableAudio(container=container, codec=codec, reason=reason) from decoding.error
    raise EmptyAudio(f"the file (container {container}, codec {codec}) has a header and no samples")


def _forget_layout(context: av.AudioCodecContext) -> None:
    """Leave the decoder the number of channels alone, so that it makes frames without a custom layout.

    A layout of PyAV borrows the channel map of a custom one and frees it a second time: a film with odd channel labels
    ends the process. The getter takes the map, the setter puts a layout without one in its place: it is freed once.
    """
    layout = context.layout
    if layout.nb_channels:
        context.layout = f"{layout.nb_channels}C"  # FFmpeg's name for that many channels in no order


class _Decoding:
    """The frames of a stream, past whatever is damaged; `error` keeps the last reason."""

    def __init__(self, media: av.container.InputContainer, stream: av.AudioStream, checkpoint: Checkpoint) -> None:
        self._stream, self._packets, self._checkpoint = stream, media.demux(stream), checkpoint
        self.error: Exception | None = None

    def frames(self) -> Iterator[av.AudioFrame]:
        while (packet := self._next_packet()) is not None:
            self._checkpoint()
            try:
                yield from self._stream.decode(packet)
            except _FAILURES as error:
                self.error = error

    def _next_packet(self) -> "av.Packet[av.AudioStream] | None":
        try:
            return next(self._packets, None)
        except _FAILURES as error:
            self.error = error
            return None


def _runs(frames: Iterable[av.AudioFrame], full_values: int) -> Iterator[list[av.AudioFrame]]:
    """Frames of one format, as soon as they hold that many samples: a frame alone (20 ms) is little work for numpy."""
    run: list[av.AudioFrame] = []
    values, shape = 0, (0, "", 0)
    for frame in frames:
        channels = frame.layout.nb_channels
        now = (frame.sample_rate, frame.format.name, channels)
        if run and now != shape:
            yield run
            run, values = [], 0
        if frame.samples:
            run.append(frame)
            values, shape = values + frame.samples * channels, now
        if values >= full_values:
            yield run
            run, values = [], 0
    if run:
        yield run


def _mono(frames: list[av.AudioFrame]) -> Samples:
    """All frames of a run at once, plane by plane: `to_ndarray` on each costs more than decoding an mp3 frame."""
    first = frames[0]
    channels = first.layout.nb_channels
    dtype = _SAMPLE_TYPES[first.format.name.removesuffix("p")]
    if first.format.is_planar:
        planes = [[_plane(frame, index, dtype, 1) for frame in frames] for index in range(channels)]
        return downmix(_as_float(np.stack([np.concatenate(plane) for plane in planes])))
    interleaved = np.concatenate([_plane(frame, 0, dtype, channels) for frame in frames])
    return downmix(_as_float(interleaved).reshape(-1, channels).T)


def _plane(frame: av.AudioFrame, index: int, dtype: str, width: int) -> npt.NDArray[np.generic]:
    # Not `frame.planes` (nor `to_ndarray`): it walks the pointers to the next null, past the end for over 8 channels.
    plane = memoryview(AudioPlane(frame, index))
    return np.frombuffer(plane, np.dtype(dtype), frame.samples * width)


def _as_float(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    if values.dtype.kind == "f":
        return sanitised(values.astype(np.float32, copy=False))
    bits = values.dtype.itemsize * 8
    scaled = values.astype(np.float32)
    if values.dtype.kind == "u":
        scaled -= np.float32(2 ** (bits - 1))
    scaled *= np.float32(2.0 ** (1 - bits))
    return scaled


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
