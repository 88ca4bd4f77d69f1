"""What a stranger's bytes reach first in the server, by name: how to feed it, and good inputs to damage."""

import asyncio
import json
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qsl

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from service.api import deepgram_options, forms, realtime_asked
from service.api.admin import LoadForm, OrdersForm
from service.api.bodies import read_json
from service.api.deepgram_messages import ControlMessage
from service.api.forms import MAX_CHANNELS, MAX_SAMPLE_RATE
from service.api.spool import Spool
from service.api.uploads import UploadLimits, read_bare, read_form
from service.audio.decode import decode
from service.audio.duration import headed_duration_s, promised_duration_s
from service.audio.live import decode_live
from service.audio.pipe import Pipe
from service.audio.sniff import LIVE_HEAD_BYTES, sniff, sniff_head
from service.audio.types import RawEncoding, RawFormat, Samples
from service.errors import WrenError
from service.recognition.tokenizer import ByteLevelTokenizer
from tests.audio.clips import CONTAINERS, pcm16, speech
from tests.audio.mutations import LIMITS

Feed = Callable[[bytes], None]

REFUSALS = (WrenError, HTTPException, realtime_asked.BadEvent, ValidationError)
"""What bad input may lead to; all else is a fault of ours."""

STREAMED = ("wav", "flac", "mp3", "ogg opus", "ogg vorbis", "webm opus", "mp4 in fragments", "aac", "mpegts", "amr")
RAW: tuple[RawEncoding, ...] = ("linear16", "linear32", "float32", "mulaw", "alaw")
CLIP_S = 1.0
_PIECE_BYTES = 997
"""Of a body or stream that comes in pieces: a prime, so that they cut across everything."""

_BOUNDARY = b"------wren"


@dataclass(frozen=True, slots=True)
class Entry:
    """A way in."""

    feed: Feed
    good: Callable[[], Sequence[bytes]]
    text: bool = False


def entries(store: Path) -> dict[str, Entry]:
    """Every way in, by name; the tokeniser is that of the first model in the store that has one."""
    tokenizer = next(iter(sorted(store.glob("whisper-*/*/tokenizer.json"))), None)
    prompts = {} if tokenizer is None else {"prompt": Entry(_Prompts(tokenizer), _prompts, text=True)}
    return {
        **{f"decode {name}": Entry(partial(_decode, None), partial(_clips, name)) for name in CONTAINERS},
        **{f"live {name}": Entry(partial(_live, None), partial(_clips, name)) for name in STREAMED},
        **{f"decode raw {name}": Entry(partial(_decode, name), _raw) for name in RAW},
        **{f"live raw {name}": Entry(partial(_live, name), _raw) for name in RAW},
        "sniff": Entry(_sniff, _every_clip),
        "duration": Entry(_duration, _every_clip),
        "multipart": Entry(_Bodies(_multipart), _forms),
        "bare body": Entry(_Bodies(_bare), _raw),
        "json body": Entry(_Bodies(_json), _bodies, text=True),
        "form fields": Entry(_fields, _queries, text=True),
        "listen query": Entry(_query, _queries, text=True),
        "listen message": Entry(_control, _controls, text=True),
        "realtime message": Entry(_realtime, _realtime_messages, text=True),
        **prompts,
    }


def _clips(name: str) -> Sequence[bytes]:
    return (CONTAINERS[name](CLIP_S),)


def _every_clip() -> Sequence[bytes]:
    return [make(0.2) for make in CONTAINERS.values()]


def _raw() -> Sequence[bytes]:
    return (pcm16(speech(CLIP_S)),)


def _raw_format(encoding: RawEncoding | None, data: bytes) -> RawFormat | None:
    """Laid out as the data themselves say, so that each is another."""
    if encoding is None:
        return None
    rate = int.from_bytes(data[:3], "little") % MAX_SAMPLE_RATE
    return RawFormat(encoding, rate, data[3] % (MAX_CHANNELS + 2) if len(data) > 3 else 1)


def _decode(encoding: RawEncoding | None, data: bytes) -> None:
    _take(decode(data, raw=_raw_format(encoding, data), limits=LIMITS).samples)


def _live(encoding: RawEncoding | None, data: bytes) -> None:
    pipe = Pipe(2 * len(data) + 1, lambda: None)
    for start in range(0, len(data), _PIECE_BYTES):
        pipe.put(data[start : start + _PIECE_BYTES])
        pipe.mark(lambda: None)
    pipe.close()
    decode_live(pipe, _raw_format(encoding, data), _take)


def _take(samples: Samples) -> None:
    assert not len(samples) or abs(samples).max() <= 1.0  # false for NaN


def _sniff(data: bytes) -> None:
    with suppress(WrenError):
        sniff(BytesIO(data))
    sniff_head(data[:LIVE_HEAD_BYTES])


def _duration(data: bytes) -> None:
    headed_duration_s(data)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        promised_duration_s(Path(file.name))


class _Bodies:
    """Bodies of requests, that come in pieces, in one event loop."""

    def __init__(self, read: Callable[[Request], Coroutine[None, None, None]]) -> None:
        self._read = read
        self._loop = asyncio.Runner()

    def __call__(self, data: bytes) -> None:
        self._loop.run(self._reading(data))

    async def _reading(self, data: bytes) -> None:
        pieces = [data[start : start + _PIECE_BYTES] for start in range(0, len(data), _PIECE_BYTES)] or [b""]
        messages = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
            for number, piece in enumerate(pieces, 1)
        ]

        async def receive() -> Message:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        content_type = b"multipart/form-data; boundary=" + _BOUNDARY[2:]
        scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type)], "query_string": b""}
        await self._read(Request(scope, receive))


_UPLOAD_LIMITS = UploadLimits(body_bytes=2**20, idle_s=5)


async def _multipart(request: Request) -> None:
    spool = Spool(2**16)
    async with read_form(request, limits=_UPLOAD_LIMITS, spool=spool) as form:
        forms.parse(form.fields)


async def _bare(request: Request) -> None:
    async with read_bare(request, limits=_UPLOAD_LIMITS, spool=Spool(2**14)) as upload:
        upload.audio()


async def _json(request: Request) -> None:
    await request.body()  # kept, for both to read
    for kind in (OrdersForm, LoadForm):
        with suppress(WrenError, HTTPException):
            await read_json(request, kind)


def _fields(data: bytes) -> None:
    forms.parse(parse_qsl(data.decode("utf-8", errors="replace"), keep_blank_values=True))


def _query(data: bytes) -> None:
    options = deepgram_options.parse(parse_qsl(data.decode("latin-1"), keep_blank_values=True))
    options.options()
    options.raw()
    options.stream_request("auto", client="fuzz")
    for live in (False, True):
        options.warnings(live=live)


def _control(data: bytes) -> None:
    ControlMessage.model_validate_json(data.decode("utf-8", errors="replace")).impossible()


def _realtime(data: bytes) -> None:
    asked = realtime_asked.parse(data.decode("utf-8", errors="replace"))
    if isinstance(asked, realtime_asked.Append):
        asyncio.run(asked.decoded())


class _Prompts:
    """A prompt to tokens and back."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = ByteLevelTokenizer(path)

    def __call__(self, data: bytes) -> None:
        text = data.decode("utf-8", errors="replace")
        assert b"".join(self._tokenizer.pieces(self._tokenizer.encode(text))).decode() == text


def _prompts() -> Sequence[bytes]:
    return ("The quick <|endoftext|> fox… 日本語 \x00 ñ 🦊".encode(), b"Names: Anna, Bob <|startoftranscript|>")


def _part(name: str, value: bytes, extra: bytes = b"") -> bytes:
    head = b'Content-Disposition: form-data; name="' + name.encode() + b'"' + extra
    return _BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + value + b"\r\n"


def _forms() -> Sequence[bytes]:
    file = _part("file", pcm16(speech(0.2)), b'; filename="a.wav"\r\nContent-Type: audio/wav')
    fields = _part("model", b"auto") + _part("timestamp_granularities[]", b"word") + _part("temperature", b"0.2")
    return (fields + file + _BOUNDARY + b"--\r\n", file + fields + _BOUNDARY + b"--\r\n")


def _bodies() -> Sequence[bytes]:
    return (b'{"model": "auto", "pin": "int8", "highest": null, "lowest": null}', b'{"keep_alive": "5m"}          ')


def _queries() -> Sequence[bytes]:
    return (
        b"model=auto&language=en&response_format=verbose_json&timestamp_granularities[]=word&chunking_strategy[type]"
        b"=server_vad&chunking_strategy[threshold]=0.5&temperature=0.2&stream=true&keep_alive=5m&hotwords=a,b",
        b"model=nova-3&language=en-US&detect_language=true&keywords=fox:2&replace=a:b&extra=k:v&encoding=linear16"
        b"&sample_rate=16000&channels=2&endpointing=300&utterance_end_ms=1000&interim_results=true&tag=x&keyterm=dog",
        b"model=fake&encoding=mulaw&languages=en&languages=fr&deadline_s=1.5&precision=int8&chunking_strategy=auto",
    )


def _controls() -> Sequence[bytes]:
    return (
        b'{"type": "Configure", "keyterms": ["fox", "dog"], "features": {"punctuate": true, "numerals": false}}',
        b'{"type": "KeepAlive"}     ',
        b'{"type": "CloseStream"}   ',
    )


def _realtime_messages() -> Sequence[bytes]:
    transcription = {"model": "auto", "language": "en", "prompt": "x"}
    heard = {"format": {"type": "audio/pcm", "rate": 24000}, "transcription": transcription}
    vad = {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500}
    session = {"type": "transcription", "audio": {"input": {**heard, "turn_detection": vad}}}
    return (
        json.dumps({"type": "session.update", "event_id": "e1", "session": session}).encode(),
        b'{"type": "input_audio_buffer.append", "audio": "' + b"AAAA" * 200 + b'"}',
        b'{"type": "input_audio_buffer.append", "audio": "' + b"AB\\/+" * 20_000 + b'"}',
        b'{"type": "input_audio_buffer.commit", "event_id": "x"}',
    )
