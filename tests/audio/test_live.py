import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from io import BytesIO

import av
import numpy as np
import pytest

from service.audio.checkpoint import Abandoned
from service.audio.decode import Limits, decode
from service.audio.live import decode_live
from service.audio.pipe import Pipe
from service.audio.types import SAMPLE_RATE, RawEncoding, RawFormat
from service.errors import AudioError, EmptyAudio, UndecodableAudio
from tests.audio.clips import CONTAINERS, LIVE_WEBM, Recipe, Waveform, by_sndfile, encode, pcm16, speech, spread, wav

LIMITS = Limits(max_duration_s=60)
WAIT_S = 5.0
PCM = RawFormat("linear16", SAMPLE_RATE)

SHORT_PAGES = Recipe("ogg", "libopus", rate=48_000, options=(("page_duration", "20000"),))
STREAMED: dict[str, Callable[[float], bytes]] = {
    "webm opus": CONTAINERS["webm opus"],
    "ogg opus": partial(encode, SHORT_PAGES),
    "ogg flac": CONTAINERS["ogg flac"],
    "flac": CONTAINERS["flac"],
    "aac": CONTAINERS["aac"],
    "mp4 in fragments": CONTAINERS["mp4 in fragments"],
    "mpegts": CONTAINERS["mpegts"],
    "amr": CONTAINERS["amr"],
    "wav": CONTAINERS["wav"],
    "wav mulaw": CONTAINERS["wav mulaw"],
    "wav adpcm": CONTAINERS["wav adpcm"],
    "wav of 24 bits": lambda s: by_sndfile("WAV", "PCM_24", rate=44_100, channels=2, seconds=s),
    "wav extensible": lambda s: by_sndfile("WAVEX", "FLOAT", rate=48_000, channels=2, seconds=s),
    "au": CONTAINERS["au"],
}


class Listener:
    """Collects what a stream gives, and lets a test wait for it."""

    def __init__(self) -> None:
        self._pieces: list[Waveform] = []
        self._changed = threading.Condition()
        self.length = 0

    def __call__(self, samples: Waveform) -> None:
        assert samples.dtype == np.float32
        assert np.abs(samples).max() <= 1.0
        with self._changed:
            self._pieces.append(samples)
            self.length += len(samples)
            self._changed.notify()

    def has(self, length: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.length >= length, WAIT_S)

    @property
    def samples(self) -> Waveform:
        return np.concatenate([np.empty(0, np.float32), *self._pieces])


def decode_split(data: bytes, raw: RawFormat | None = None, *, step: int) -> Waveform:
    pipe, listener = Pipe(2**30, lambda: None), Listener()
    for start in range(0, len(data), step):
        pipe.put(data[start : start + step])
    pipe.close()
    decode_live(pipe, raw, listener)
    return listener.samples


@contextlib.contextmanager
def running(raw: RawFormat | None) -> Iterator[tuple[Pipe, Listener, Future[None]]]:
    """A stream in a thread of its own, which ends with the test whatever happens."""
    pipe, listener = Pipe(2**20, lambda: None), Listener()
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pipe, listener, pool.submit(decode_live, pipe, raw, listener)
        finally:
            pipe.abandon()


@pytest.mark.parametrize("name", STREAMED)
def test_a_container_gives_what_its_file_gives_however_it_is_split(name: str) -> None:
    data = STREAMED[name](1.0)
    whole = decode(data, limits=LIMITS).samples
    for step in (1, 7, 1000, len(data)):
        np.testing.assert_array_equal(decode_split(data, step=step), whole)


def test_mp3_gives_what_its_file_gives_and_its_padding() -> None:
    """The length that says what is padding is known only where one can seek; the resampler ends a little later."""
    data = CONTAINERS["mp3"](1.0)
    whole = decode(data, limits=LIMITS).samples
    live = decode_split(data, step=100)
    assert 0 <= len(live) - len(whole) < 0.1 * SAMPLE_RATE
    np.testing.assert_allclose(live[: len(whole)], whole, atol=1e-3)
    np.testing.assert_array_equal(live, decode_split(data, step=999))


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("encoding", ["linear16", "linear32", "float32", "mulaw", "alaw"])
def test_headerless_samples_give_the_same_however_they_are_split(
    encoding: RawEncoding, rate: int, channels: int
) -> None:
    raw = RawFormat(encoding, rate, channels)
    data = headerless(encoding, spread(speech(0.2, rate=rate), channels)) + b"\x01"  # and half a frame
    whole = decode(data, raw=raw, limits=LIMITS).samples
    for step in (1, 5, 641, 10 * len(data)):
        np.testing.assert_array_equal(decode_split(data, raw, step=step), whole)


def headerless(encoding: RawEncoding, values: Waveform) -> bytes:
    if encoding == "float32":
        return values.astype("<f4").tobytes()
    if encoding == "linear32":
        return (values * (2**31 - 1)).astype("<i4").tobytes()
    return pcm16(values) if encoding == "linear16" else values.astype("<i1").tobytes()


def test_samples_that_are_no_numbers_are_silent() -> None:
    data = np.array([np.nan, np.inf, -np.inf, 7.0, -7.0, 0.5], "<f4").tobytes()
    live = decode_split(data, RawFormat("float32", SAMPLE_RATE), step=3)
    np.testing.assert_array_equal(live, np.array([0, 0, 0, 1, -1, 0.5], np.float32))


@pytest.mark.parametrize("said", [0, 10, 11, 1000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_the_length_that_a_wav_says_is_not_believed(said: int) -> None:
    data = wav(pcm16(speech(0.5)), data_bytes=said, riff_bytes=said)
    for step in (1, 1000):
        live = decode_split(data, step=step)
        np.testing.assert_array_equal(live, decode(pcm16(speech(0.5)), raw=PCM, limits=LIMITS).samples)


@pytest.mark.parametrize("name", ["wav", "wav mulaw", "webm opus", "ogg opus", "aac", "mp3"])
def test_one_file_after_the_other_is_one_stream(name: str) -> None:
    """As of a recorder that is stopped and started again, or a client that sends each message as a file."""
    data = CONTAINERS[name](1.0)
    one = len(decode_split(data, step=100))
    assert len(decode_split(data * 3, step=100)) == pytest.approx(3 * one, abs=0.1 * SAMPLE_RATE)


@pytest.mark.parametrize("length", [999, 1000])
def test_what_follows_the_samples_of_a_wav_is_not_heard(length: int) -> None:
    data = wav(pcm16(speech(0.1))[:length], rate=8_000, bits=8, tag=7)
    padding = bytes(length % 2)
    expected = decode(data, limits=LIMITS).samples
    for step in (1, 1000):
        live = decode_split(data + padding + b"LIST\x0a\0\0\0INFOabcdef", step=step)
        np.testing.assert_array_equal(live, expected)


@pytest.mark.parametrize("name", ["webm opus", "ogg opus", "mp4 in fragments", "aac", "wav", "wav extensible"])
def test_sound_comes_a_quarter_of_a_second_behind_its_bytes(name: str) -> None:
    data = STREAMED[name](2.0)
    sent = 0
    with running(None) as (pipe, listener, _):
        for end, sent_s in sent_times(data):
            pipe.put(data[sent:end])
            sent = end
            assert listener.has(round((sent_s - 0.25) * SAMPLE_RATE)), f"{sent_s:.2f} s sent, {listener.length} heard"


def sent_times(data: bytes, *, step_s: float = 0.06) -> Iterator[tuple[int, float]]:
    """Where the packets of each next 60 ms end in a file, and the sound until there."""
    told_s = heard_s = 0.0
    with av.open(BytesIO(data)) as media:
        for packet in media.demux(audio=0):
            if packet.size and packet.duration and packet.time_base:
                heard_s += float(packet.duration * packet.time_base)
                assert packet.pos is not None
                if heard_s - told_s >= step_s:
                    told_s = heard_s
                    yield packet.pos + packet.size, heard_s


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100])
def test_all_sound_before_a_mark_is_out_when_it_is_run(rate: int) -> None:
    data, sent = pcm16(speech(0.5, rate=rate)), 0
    with running(RawFormat("linear16", rate)) as (pipe, listener, _):
        for end in (0, 1, 1001, 1001, 6000):
            marked: Future[int] = Future()
            pipe.put(data[sent:end])
            pipe.mark(lambda marked=marked: marked.set_result(listener.length))  # type: ignore[misc]
            sent = end
            assert marked.result(WAIT_S) == pytest.approx(end // 2 * SAMPLE_RATE / rate, abs=2)


def test_a_mark_parts_the_sound_to_the_sample() -> None:
    data = pcm16(speech(0.5))
    parts = list[Waveform]()
    with running(PCM) as (pipe, listener, done):
        pipe.put(data[:4001])
        pipe.mark(lambda: parts.append(listener.samples))
        pipe.put(data[4001:])
        pipe.close()
        done.result(WAIT_S)
        whole = decode(data, raw=PCM, limits=LIMITS).samples
        np.testing.assert_array_equal(parts[0], whole[:2000])
        np.testing.assert_array_equal(listener.samples, whole)


@pytest.mark.parametrize("name", ["webm opus", "ogg opus", "mp4 in fragments", "aac", "wav", "wav extensible"])
def test_a_mark_in_a_container_waits_for_no_more_bytes(name: str) -> None:
    data = STREAMED[name](1.0)
    ends = list(sent_times(data))
    end, sent_s = ends[len(ends) // 2]
    with running(None) as (pipe, listener, done):
        marked: Future[int] = Future()
        pipe.put(data[:end])
        pipe.mark(lambda: marked.set_result(listener.length))
        assert marked.result(WAIT_S) >= (sent_s - 0.1) * SAMPLE_RATE
        pipe.put(data[end:])
        pipe.close()
        done.result(WAIT_S)
        assert listener.length == pytest.approx(len(decode(data, limits=LIMITS).samples), abs=2)


def test_a_mark_before_the_first_byte_is_run_at_once() -> None:
    for raw in (None, PCM):
        with running(raw) as (pipe, _, _done):
            marked = threading.Event()
            pipe.mark(marked.set)
            assert marked.wait(WAIT_S)


@pytest.mark.parametrize("raw", [None, PCM])
def test_what_a_mark_raises_ends_the_stream(raw: RawFormat | None) -> None:
    def fail() -> None:
        raise ValueError("no such option")  # FFmpeg's reader takes a ValueError for damage

    with running(raw) as (pipe, _, done):
        pipe.put(CONTAINERS["webm opus"](1.0)[:5000])
        pipe.mark(fail)
        with pytest.raises(ValueError, match="no such option"):
            done.result(WAIT_S)


@pytest.mark.parametrize("sent", [0, 50, 300, 5000])
@pytest.mark.parametrize("name", ["webm opus", "ogg opus", "mp3", "flac", "wav", "mp4 film"])
def test_an_abandoned_stream_ends_while_the_decoder_waits(name: str, sent: int) -> None:
    with running(None) as (pipe, _, done):
        idle = threading.Event()
        pipe.put(CONTAINERS[name](1.0)[:sent])
        pipe.mark(idle.set)
        assert idle.wait(WAIT_S)
        pipe.abandon()
        with pytest.raises(Abandoned):
            done.result(0.5)


def test_headerless_audio_may_be_nothing() -> None:
    for data in (b"", b"\x01"):
        assert len(decode_split(data, PCM, step=1)) == 0


@pytest.mark.parametrize("kept", [0, 1, 20, 100, 300])
def test_a_container_that_ends_before_its_sound_is_refused(kept: int) -> None:
    with pytest.raises((EmptyAudio, UndecodableAudio)):
        decode_split(CONTAINERS["webm opus"](1.0)[:kept], step=10)


@pytest.mark.parametrize("data", [b'{"type": "KeepAlive"}' * 20, b"%PDF-1.7" + bytes(500), b"hello"])
def test_what_is_no_audio_is_refused_by_its_first_bytes(data: bytes) -> None:
    with running(None) as (pipe, _, done):
        pipe.put(data)
        if len(data) < 200:
            pipe.close()
        with pytest.raises(UndecodableAudio):
            done.result(WAIT_S)


@pytest.mark.parametrize("raw", [RawFormat("linear16", 10), RawFormat("mulaw", 8_000, 0)])
def test_an_impossible_layout_is_refused_before_any_byte(raw: RawFormat) -> None:
    with running(raw) as (_, _, done), pytest.raises(UndecodableAudio):
        done.result(WAIT_S)


def test_sound_that_ends_before_the_stream_does_is_told() -> None:
    trailer = b"LIST" + bytes(1000)
    samples = wav(pcm16(speech(0.1)))
    assert len(decode_split(samples + trailer, step=100)) == 0.1 * SAMPLE_RATE
    with pytest.raises(UndecodableAudio, match="the stream goes on"):
        decode_split(samples + trailer * 100, step=100)


def test_a_packet_that_never_ends_is_not_collected() -> None:
    """A webm block that says it is 1 GiB long, and comes."""
    data = encode(LIVE_WEBM)
    end = max(end for end, _ in sent_times(data))
    block = b"\xa3\x01" + (2**30).to_bytes(7, "big")
    with pytest.raises(UndecodableAudio, match="no sound in 4 MiB"):
        decode_split(data[:end] + block + bytes(8 * 2**20), step=2**16)


@pytest.mark.parametrize("start", [b"", b"OggS\0\2", b"\x1aE\xdf\xa3", b"fLaC\0", b"\xff\xfb", b"RIFF\0\0\0\0WAVEfmt "])
def test_noise_ends_in_sound_or_an_error(start: bytes) -> None:
    rng = np.random.default_rng(5)
    for length in (1, 16, 300, 20_000):
        for _ in range(5):
            with contextlib.suppress(AudioError):
                decode_split(start + rng.bytes(length), step=500)
