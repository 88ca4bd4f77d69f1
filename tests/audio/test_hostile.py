"""Damaged and malicious uploads: each decodes or raises an AudioError, soon, and the process stays whole and small."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from service.audio.decode import Limits, decode
from service.errors import AudioError, AudioTooLong, UndecodableAudio
from tests.audio.clips import CONTAINERS, Recipe, by_sndfile, encode, pcm16, speech, wav

LIMITS = Limits(max_duration_s=60)
ROOT = Path(__file__).parents[2]
MUTATIONS = 200


STREAMED = (
    "wav",
    "flac",
    "mp3",
    "ogg opus",
    "ogg vorbis",
    "webm opus",
    "mp4 in fragments",
    "aac",
    "mpegts",
)
UPLOADED = [pytest.param(name, (), id=name) for name in CONTAINERS]
LIVE = [pytest.param(name, ("live",), id=f"{name} live") for name in STREAMED]


@pytest.mark.parametrize(("name", "how"), UPLOADED + LIVE)
def test_damaged_audio_decodes_or_is_refused(name: str, how: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "tests.audio.mutations", name, str(MUTATIONS), *how]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr[-3000:]
    report = json.loads(run.stdout)
    assert sum(report["outcomes"].values()) == MUTATIONS
    assert report["outcomes"].get("decoded", 0) > 0
    assert report["grown_mib"] < 64
    assert report["peak_mib"] < 256
    assert report["open_files"] < 12
    assert run.stderr == ""


class _Counting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.requests += 1  # type: ignore[attr-defined]
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Counting)
    server.requests = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "dash": '<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet><Representation>'
    "<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\na=control:{}\n",
    "asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>',
    "imf": "<?xml version='1.0'?><CompositionPlaylist><Id>{}</Id></CompositionPlaylist>",
}


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_never_followed(kind: str, binary: bool, web: HTTPServer, tmp_path: Path) -> None:
    victim = tmp_path / "secret.wav"
    victim.write_bytes(CONTAINERS["wav"](1.0))
    for target in (str(victim), victim.as_uri(), f"http://127.0.0.1:{web.server_port}/a.wav", "secret.wav"):
        # a control byte takes it past the check for text, to FFmpeg's own probing
        data = PLAYLISTS[kind].format(target).encode() + b"\x00\x01" * binary
        upload = tmp_path / "upload.m3u8"
        upload.write_bytes(data)
        for audio in (data, upload):
            with pytest.raises(UndecodableAudio):
                decode(audio, limits=LIMITS)
    assert web.requests == 0  # type: ignore[attr-defined]


def test_a_film_that_points_to_another_file_is_not_followed(tmp_path: Path) -> None:
    """A QuickTime data reference: alis or url instead of 'the data are in this file'."""
    victim = tmp_path / "secret.mov"
    victim.write_bytes(encode(Recipe("mov", "pcm_s16le")))
    data = victim.read_bytes()
    at = data.index(b"dref") + 12
    assert data[at + 4 : at + 8] in (b"url ", b"alis")
    outside = bytearray(data)
    outside[at + 8 : at + 12] = bytes(4)  # flags: 1 means "this file"
    start = data.index(b"mdat") + 4
    outside[start : start + len(pcm16(speech(2.0)))] = bytes(len(pcm16(speech(2.0))))
    try:
        decoded = decode(bytes(outside), limits=LIMITS)
    except AudioError:
        return
    assert not decoded.samples.any()


FLAC = by_sndfile("FLAC", "PCM_16")
LIES = {
    "4 GiB of data": wav(pcm16(speech(0.1)), data_bytes=0xFFFFFFF0, riff_bytes=0xFFFFFFF0),
    "65535 channels": wav(pcm16(speech(0.1)), channels=65_535),
    "no channel": wav(pcm16(speech(0.1)), channels=0),
    "4 GHz": wav(pcm16(speech(0.1)), rate=4_000_000_000),
    "1 Hz": wav(pcm16(speech(0.1)), rate=1),
    "0 Hz": wav(pcm16(speech(0.1)), rate=0),
    "0 bits": wav(pcm16(speech(0.1)), bits=0),
    "unknown codec": wav(pcm16(speech(0.1)), tag=0x7777),
    "2^36 samples of flac": FLAC[:21] + bytes([FLAC[21] | 0x0F]) + b"\xff" * 4 + FLAC[26:],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_costs_neither_time_nor_memory(lie: str) -> None:
    start = time.perf_counter()
    try:
        duration_s = decode(LIES[lie], limits=LIMITS).duration_s
    except UndecodableAudio:
        duration_s = 0.0
    assert duration_s <= 2.0
    assert time.perf_counter() - start < 1.0


def test_a_decompression_bomb_stops_at_the_limit() -> None:
    silence = flac_of_silence(minutes=60)
    assert len(silence) < 2**21
    start = time.perf_counter()
    with pytest.raises(AudioTooLong):
        decode(silence, limits=LIMITS)
    assert time.perf_counter() - start < 2.0


def test_a_bomb_of_opus_is_not_decoded_any_further_than_the_limit() -> None:
    silence = opus_of_silence(minutes=5)
    assert len(silence) < 2**17
    passed: dict[int, int] = {}
    for limit_s in (10, 600):
        blocks: list[None] = []
        with suppress(AudioTooLong):
            decode(silence, limits=Limits(max_duration_s=limit_s), checkpoint=partial(blocks.append, None))
        passed[limit_s] = len(blocks)
    assert 0 < passed[10] < passed[600] / 10


def opus_of_silence(*, minutes: int) -> bytes:
    file = BytesIO()
    with soundfile.SoundFile(file, "w", 8_000, 1, format="OGG", subtype="OPUS") as opus:
        for _ in range(minutes):
            opus.write(np.zeros(60 * 8_000, np.int16))
    return file.getvalue()


def flac_of_silence(*, minutes: int) -> bytes:
    file = BytesIO()
    with soundfile.SoundFile(file, "w", 48_000, 1, format="FLAC", subtype="PCM_16") as flac:
        for _ in range(minutes):
            flac.write(np.zeros(60 * 48_000, np.int16))
    return file.getvalue()
