import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from service.audio.checkpoint import Abandoned
from service.audio.decode import Limits, decode
from service.audio.types import SAMPLE_RATE, RawEncoding, RawFormat
from service.errors import AudioTooLong, EmptyAudio, NoAudioStream, UndecodableAudio
from tests.audio.clips import (
    CONTAINERS,
    LIVE_WEBM,
    Recipe,
    Waveform,
    by_sndfile,
    encode,
    encode_into,
    film,
    pcm16,
    speech,
    spread,
    wav,
)

LIMITS = Limits(max_duration_s=60)
ROOT = Path(__file__).parents[2]


def aligned(got: Waveform, expected: Waveform) -> tuple[int, float]:
    """The lag in samples at which `got` fits best, and the correlation there."""
    size = len(got) + len(expected)
    spectrum = np.fft.rfft(got, size) * np.conj(np.fft.rfft(expected, size))
    products = np.fft.irfft(spectrum, size)
    lag = int(np.argmax(products))
    lag = lag - size if lag > size // 2 else lag
    head, tail = max(0, lag), max(0, -lag)
    length = min(len(got) - head, len(expected) - tail)
    return lag, float(np.corrcoef(got[head : head + length], expected[tail : tail + length])[0, 1])


NAMED: dict[str, tuple[str, str]] = {
    "wav": ("wav", "pcm_s16le"),
    "wav float": ("wav", "pcm_f32le"),
    "wav mulaw": ("wav", "pcm_mulaw"),
    "wav adpcm": ("wav", "adpcm_ima_wav"),
    "wav adpcm ms": ("wav", "adpcm_ms"),
    "rf64": ("wav", "pcm_s16le"),
    "flac": ("flac", "flac"),
    "mp3": ("mp3", "mp3float"),
    "ogg opus": ("ogg", "opus"),
    "ogg vorbis": ("ogg", "vorbis"),
    "ogg flac": ("ogg", "flac"),
    "webm opus": ("webm", "opus"),
    "m4a": ("m4a", "aac"),
    "m4a alac": ("m4a", "alac"),
    "mp4 film": ("mp4", "aac"),
    "mov of odd channels": ("mov", "pcm_s16le"),
    "mp4 in fragments": ("mp4", "aac"),
    "aac": ("aac", "aac"),
    "aiff": ("aiff", "pcm_s16be"),
    "amr": ("amr", "amrnb"),
    "wma": ("asf/wma", "wmav2"),
    "caf": ("caf", "pcm_s16be"),
    "w64": ("w64", "pcm_s16le"),
    "au": ("au", "pcm_s16be"),
    "matroska": ("matroska", "opus"),
    "mpegts": ("mpegts", "aac"),
    "wavpack": ("wavpack", "wavpack"),
    "wavpack of 16 channels": ("wavpack", "wavpack"),
    "tta": ("tta", "tta"),
    "ac3": ("ac3", "ac3"),
    "avi": ("avi", "mp3float"),
}


CORRELATION = {"amr": 0.7}
"""Where it is under 0.95: narrow-band AMR models the voice and keeps its spectrum, not its wave."""


@pytest.mark.parametrize("name", NAMED)
def test_each_container_gives_back_the_speech(name: str) -> None:
    decoded = decode(CONTAINERS[name](2.0), limits=LIMITS)
    assert (decoded.container, decoded.codec) == NAMED[name]
    assert decoded.samples.dtype == np.float32
    assert decoded.samples.flags.c_contiguous
    assert decoded.duration_s == pytest.approx(2.0, abs=0.15)
    lag, correlation = aligned(decoded.samples, speech(2.0))
    assert correlation > CORRELATION.get(name, 0.95)
    assert abs(lag) <= 0.08 * SAMPLE_RATE


@pytest.mark.parametrize("name", ["mp3", "ogg opus", "webm opus", "ogg vorbis", "m4a", "mp4 film", "flac", "wav"])
def test_encoder_delay_is_cut(name: str) -> None:
    lag, _ = aligned(decode(CONTAINERS[name](2.0), limits=LIMITS).samples, speech(2.0))
    assert abs(lag) <= 0.001 * SAMPLE_RATE


@pytest.mark.parametrize(
    "name", ["wav", "flac", "mp3", "ogg opus", "webm opus", "ogg vorbis", "aiff", "wavpack", "tta"]
)
def test_no_sample_is_lost_or_added(name: str) -> None:
    assert len(decode(CONTAINERS[name](2.0), limits=LIMITS).samples) == 2 * SAMPLE_RATE


def test_wide_band_amr_decodes_at_16_khz() -> None:
    decoded = decode(CONTAINERS["amr wb"](2.0), limits=LIMITS)
    assert (decoded.container, decoded.codec, decoded.source_rate) == ("amr", "amrwb", SAMPLE_RATE)
    assert decoded.duration_s == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
@pytest.mark.parametrize("format_", ["WAV", "WAVEX", "RF64"])
def test_every_wav_encoding(format_: str, subtype: str) -> None:
    decoded = decode(by_sndfile(format_, subtype), limits=LIMITS)
    assert decoded.container == "wav"
    assert len(decoded.samples) == 2 * SAMPLE_RATE
    # 8 bits of PCM step by 1/128; G.711 by up to 1/32 of full scale on the loudest samples
    tolerance = {"PCM_U8": 1 / 128, "ULAW": 1 / 32, "ALAW": 1 / 32}.get(subtype, 1e-4)
    np.testing.assert_allclose(decoded.samples, speech(2.0), atol=tolerance)


@pytest.mark.parametrize(
    "rate", [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000]
)
@pytest.mark.parametrize("format_", ["WAV", "AIFF"])
def test_any_rate(rate: int, format_: str) -> None:
    decoded = decode(by_sndfile(format_, "PCM_16", rate=rate), limits=LIMITS)
    assert decoded.source_rate == rate
    assert abs(len(decoded.samples) - 2 * SAMPLE_RATE) <= 1
    lag, correlation = aligned(decoded.samples, speech(2.0))
    assert abs(lag) <= 1
    assert correlation > (0.95 if rate < SAMPLE_RATE else 0.995)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 31])
@pytest.mark.parametrize("format_", ["WAV", "AIFF"])
def test_channels_are_mixed_by_their_mean(channels: int, format_: str, tmp_path: Path) -> None:
    parts = np.linspace(-0.5, 1.0, channels) if channels > 1 else np.ones(1)
    path = tmp_path / "file"
    soundfile.write(path, speech(1.0)[:, None] * parts, SAMPLE_RATE, format=format_, subtype="PCM_24")
    decoded = decode(path, limits=LIMITS)
    assert decoded.channels == channels
    np.testing.assert_allclose(decoded.samples, speech(1.0) * np.float32(parts.mean()), atol=1e-5)


@pytest.mark.parametrize(
    ("muxer", "codec"), [("wv", "wavpack"), ("mov", "pcm_s24le"), ("ogg", "libopus"), ("ipod", "aac")]
)
@pytest.mark.parametrize("channels", [2, 6, 8])
def test_many_channels_of_other_containers(muxer: str, codec: str, channels: int) -> None:
    decoded = decode(encode(Recipe(muxer, codec, rate=48_000, channels=channels)), limits=LIMITS)
    assert decoded.channels == channels
    assert aligned(decoded.samples, speech(2.0))[1] > 0.95


@pytest.mark.parametrize("claimed", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_streamed_wav_of_unknown_size_is_read_to_its_end(claimed: int) -> None:
    decoded = decode(wav(pcm16(speech(1.0)), data_bytes=claimed, riff_bytes=claimed), limits=LIMITS)
    np.testing.assert_allclose(decoded.samples, speech(1.0), atol=1e-4)


@pytest.mark.parametrize("flags", ["", "+faststart", "+frag_keyframe+empty_moov"])
def test_mp4_with_its_index_at_either_end_or_in_fragments(flags: str, tmp_path: Path) -> None:
    path = tmp_path / "file.mp4"
    encode_into(str(path), Recipe("mp4", "aac", options=(("movflags", flags),) if flags else ()))
    decoded = decode(path, limits=LIMITS)
    assert aligned(decoded.samples, speech(2.0))[1] > 0.95


def test_browser_webm_has_no_duration_and_decodes() -> None:
    data = encode(LIVE_WEBM)
    assert b"\x44\x89" not in data[:400]  # the Duration element
    assert decode(data, limits=LIMITS).duration_s == pytest.approx(2.0)


def test_mp3_of_variable_bit_rate_after_a_large_tag() -> None:
    data = encode(Recipe("mp3", "libmp3lame", rate=44_100, options=(("write_id3v2", "0"), ("q", "4"))))
    picture = bytes(100_000)
    size = bytes(len(picture) >> shift & 0x7F for shift in (21, 14, 7, 0))
    decoded = decode(b"ID3\x04\x00\x00" + size + picture + data, limits=LIMITS)
    assert (decoded.container, len(decoded.samples)) == ("mp3", 2 * SAMPLE_RATE)


def test_mp3_that_begins_in_the_middle_of_a_frame() -> None:
    decoded = decode(CONTAINERS["mp3"](2.0)[1_000:], limits=LIMITS)
    assert decoded.codec == "mp3float"
    assert decoded.duration_s > 1.5


def test_film_without_sound_says_so() -> None:
    with pytest.raises(NoAudioStream, match="mp4"):
        decode(film(sound=False), limits=LIMITS)


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "m4a", "webm opus"])
def test_a_path_gives_what_its_bytes_give_whatever_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture%03d.png"
    path.write_bytes(CONTAINERS[name](1.0))
    np.testing.assert_array_equal(decode(path, limits=LIMITS).samples, decode(path.read_bytes(), limits=LIMITS).samples)


RAW: dict[RawEncoding, tuple[str, float]] = {
    "linear16": ("PCM_16", 1e-4),
    "linear32": ("PCM_32", 1e-6),
    "float32": ("FLOAT", 0.0),
    "mulaw": ("ULAW", 1e-4),
    "alaw": ("ALAW", 1e-4),
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("encoding", RAW)
def test_headerless_audio_equals_the_same_with_a_header(encoding: RawEncoding, channels: int, tmp_path: Path) -> None:
    subtype, tolerance = RAW[encoding]
    path = tmp_path / "raw"
    values = spread(speech(2.0, rate=8_000), channels)
    soundfile.write(path, values, 8_000, format="RAW", subtype=subtype, endian="LITTLE")
    headed = decode(by_sndfile("WAV", subtype, rate=8_000, channels=channels), limits=LIMITS)
    for audio in (path, path.read_bytes(), path.read_bytes() + b"\x00" * (channels > 1)):
        decoded = decode(audio, raw=RawFormat(encoding, 8_000, channels), limits=LIMITS)
        assert (decoded.container, decoded.codec, decoded.source_rate) == ("headerless", encoding, 8_000)
        np.testing.assert_allclose(decoded.samples, headed.samples, atol=tolerance)


@pytest.mark.parametrize(("subtype", "encoding"), [("ULAW", "mulaw"), ("ALAW", "alaw")])
def test_each_g711_code_as_libsndfile_has_it(subtype: str, encoding: RawEncoding, tmp_path: Path) -> None:
    codes = bytes(range(256))
    (tmp_path / "raw").write_bytes(codes)
    expected, _ = soundfile.read(
        tmp_path / "raw", dtype="float32", format="RAW", subtype=subtype, samplerate=SAMPLE_RATE, channels=1
    )
    decoded = decode(codes, raw=RawFormat(encoding, SAMPLE_RATE), limits=LIMITS)
    np.testing.assert_array_equal(decoded.samples, expected)


@pytest.mark.parametrize("raw", [RawFormat("linear16", 0), RawFormat("mulaw", 4_000_000), RawFormat("alaw", 8_000, 0)])
def test_headerless_audio_of_an_impossible_layout_is_refused(raw: RawFormat) -> None:
    with pytest.raises(UndecodableAudio, match="headerless"):
        decode(bytes(1_000), raw=raw, limits=LIMITS)


def test_numbers_that_are_none_become_silence_and_loud_ones_are_clipped() -> None:
    values = np.array([0.5, np.nan, np.inf, -np.inf, 7.0, -1e38, 1e-40], "<f4")
    expected = [0.5, 0, 0, 0, 1, -1, 0]
    headed = decode(wav(values.tobytes(), bits=32, tag=3), limits=LIMITS)
    np.testing.assert_allclose(headed.samples, expected, atol=1e-30)
    headerless = decode(values.tobytes(), raw=RawFormat("float32", SAMPLE_RATE), limits=LIMITS)
    np.testing.assert_allclose(headerless.samples, expected, atol=1e-30)


@pytest.mark.parametrize("name", CONTAINERS)
def test_audio_over_the_limit_is_refused(name: str) -> None:
    with pytest.raises(AudioTooLong, match=r"0\.5 s"):
        decode(CONTAINERS[name](1.0), limits=Limits(max_duration_s=0.5))


def test_the_limit_counts_samples_and_not_what_the_header_says() -> None:
    boast = wav(pcm16(speech(1.0)), data_bytes=0xFFFF0000, riff_bytes=0xFFFF0000)
    assert decode(boast, limits=Limits(max_duration_s=1.0)).duration_s == 1.0
    modest = wav(pcm16(speech(2.0)), data_bytes=0, riff_bytes=0)
    with pytest.raises(AudioTooLong):
        decode(modest, limits=Limits(max_duration_s=1.0))


def test_audio_that_unpacks_to_too_many_bytes_is_refused() -> None:
    with pytest.raises(UndecodableAudio, match="unpacks to more"):
        decode(by_sndfile("FLAC", "PCM_16", channels=8), limits=Limits(max_duration_s=60, max_decoded_bytes=10**6))


EMPTY_FLAC = b"fLaC\x80\x00\x00\x22" + by_sndfile("FLAC", "PCM_16")[8:42]
"""The one obligatory block, and no frame."""


def test_no_bytes_are_empty() -> None:
    with pytest.raises(EmptyAudio, match="0 bytes"):
        decode(b"", limits=LIMITS)
    with pytest.raises(EmptyAudio):
        decode(b"", raw=RawFormat("linear16", SAMPLE_RATE), limits=LIMITS)


@pytest.mark.parametrize("data", [wav(b""), EMPTY_FLAC, by_sndfile("AIFF", "PCM_16", seconds=0)])
def test_a_header_without_a_sample_is_empty(data: bytes) -> None:
    with pytest.raises(EmptyAudio, match=r"container (wav|flac|aiff)"):
        decode(data, limits=LIMITS)


@pytest.mark.parametrize(
    ("data", "looks_like"),
    [
        (b"just some words, no audio", "plain text"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML page"),
        (b'{"error": "no such file"}', "JSON document"),
        (b"data:audio/wav;base64,UklGRg==", "data: URL"),
        ("as Windows saves it".encode("utf-16"), "UTF-16 text"),
        (b"%PDF-1.7\n" + bytes(100), "PDF document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG image"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "JPEG image"),
        (b"PK\x03\x04" + bytes(100), "ZIP archive"),
        (b"MThd" + bytes(100), "MIDI file"),
        (struct.pack("<4sI4s", b"RIFF", 100, b"WEBP") + bytes(100), "WebP image"),
    ],
)
def test_what_is_no_audio_is_named(data: bytes, looks_like: str) -> None:
    with pytest.raises(UndecodableAudio, match=looks_like):
        decode(data, limits=LIMITS)


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "aac", "webm opus", "amr", "aiff", "wma", "mpegts"])
def test_half_a_file_gives_the_half_that_decodes(name: str) -> None:
    data = CONTAINERS[name](2.0)
    decoded = decode(data[: len(data) // 2], limits=LIMITS)
    assert 0.5 < decoded.duration_s < 1.5
    assert aligned(decoded.samples, speech(2.0)[: len(decoded.samples)])[1] > CORRELATION.get(name, 0.9)


@pytest.mark.parametrize("name", ["wav", "flac", "ogg opus", "webm opus", "m4a", "wma", "aiff", "caf"])
def test_a_file_cut_in_its_header_names_the_container(name: str) -> None:
    container = NAMED[name][0]
    with pytest.raises((UndecodableAudio, EmptyAudio), match=f"container {container}"):
        decode(CONTAINERS[name](1.0)[:40], limits=LIMITS)


def test_random_bytes_are_refused() -> None:
    rng = np.random.default_rng(3)
    for size in (1, 2, 3, 4, 11, 12, 100, 10_000):
        with pytest.raises(UndecodableAudio):
            decode(b"\x00" + rng.bytes(size - 1), limits=LIMITS)


LONG_FILE = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from service.audio.decode import Limits, decode
decode(Path(sys.argv[2]), limits=Limits(max_duration_s=60))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decoded = decode(Path(sys.argv[1]), limits=Limits(max_duration_s=7200))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / decoded.samples.nbytes)
"""


def test_a_long_file_takes_at_most_twice_the_memory_of_its_waveform(tmp_path: Path) -> None:
    rate, minutes = 48_000, 20
    with soundfile.SoundFile(tmp_path / "long", "w", rate, 2, format="FLAC", subtype="PCM_16") as file:
        for _ in range(minutes):
            file.write(np.zeros((60 * rate, 2), np.int16))
    (tmp_path / "short").write_bytes(by_sndfile("FLAC", "PCM_16", rate=rate, channels=2))
    command = [sys.executable, "-c", LONG_FILE, str(tmp_path / "long"), str(tmp_path / "short")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert float(run.stdout) < 2.0


def abandon() -> None:
    raise Abandoned


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "m4a", "webm opus", "ogg vorbis"])
def test_a_recording_that_is_abandoned_is_not_decoded(name: str) -> None:
    with pytest.raises(Abandoned):
        decode(CONTAINERS[name](2.0), limits=LIMITS, checkpoint=abandon)


def test_headerless_audio_that_is_abandoned_is_not_decoded() -> None:
    with pytest.raises(Abandoned):
        decode(bytes(1000), raw=RawFormat("linear16", SAMPLE_RATE), limits=LIMITS, checkpoint=abandon)


def test_a_checkpoint_is_passed_where_nothing_decodes() -> None:
    data = bytearray(CONTAINERS["m4a"](2.0))
    start = data.index(b"mdat") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    data[start : start + length] = b"\xff" * length
    passed: list[None] = []
    with pytest.raises(UndecodableAudio):
        decode(bytes(data), limits=LIMITS, checkpoint=lambda: passed.append(None))
    assert len(passed) > 20


def test_blockwise_resampling_equals_that_of_the_whole() -> None:
    rate = 44_100
    values = speech(2.4, rate=rate)
    decoded = decode(wav(values.tobytes(), rate=rate, bits=32, tag=3), limits=LIMITS)
    expected = soxr.resample(values, rate, SAMPLE_RATE, quality="HQ")
    np.testing.assert_allclose(decoded.samples, expected[: len(decoded.samples)], atol=1e-5)
    assert len(decoded.samples) == len(expected)


@pytest.mark.parametrize("name", ["wav", "m4a", "webm opus"])
def test_recordings_decode_side_by_side(name: str) -> None:
    data = CONTAINERS[name](1.0)
    alone = decode(data, limits=LIMITS).samples
    with ThreadPoolExecutor(4) as pool:
        for decoded in pool.map(lambda _: decode(data, limits=LIMITS), range(40)):
            np.testing.assert_array_equal(decoded.samples, alone)
